//! Shows a place in a source, as compilers do.

/// Returns the line with a mark below the column, both from 1; empty if the source does not have
/// the line.
///
/// ```text
///    3 | let x = ;
///      |         ^
/// ```
pub(super) fn excerpt(source: &str, line: usize, column: usize) -> String {
    let Some(text) = line.checked_sub(1).and_then(|index| source.lines().nth(index)) else {
        return String::new();
    };
    let number = format!("{line:>4}");
    let gutter = " ".repeat(number.len());
    // Tabs stay tabs, so that the mark is in the right place for any tab width.
    let before = text.chars().take(column.saturating_sub(1));
    let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!("{number} | {text}\n{gutter} | {indent}^\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_the_column() {
        let source = "let a = 1;\n\tlet b = ;\n";
        assert_eq!(excerpt(source, 1, 5), "   1 | let a = 1;\n     |     ^\n");
        assert_eq!(excerpt(source, 2, 10), "   2 | \tlet b = ;\n     | \t        ^\n");
        assert_eq!(excerpt("käse!", 1, 5), "   1 | käse!\n     |     ^\n");
    }

    #[test]
    fn a_place_that_is_not_there_shows_nothing_or_the_end() {
        assert_eq!(excerpt("a", 0, 0), "");
        assert_eq!(excerpt("a", 2, 1), "");
        assert_eq!(excerpt("ab", 1, 9), "   1 | ab\n     |   ^\n");
        assert_eq!(excerpt("ab", 1, 0), "   1 | ab\n     | ^\n");
    }
}
