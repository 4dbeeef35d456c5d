//! The grammar of a schedule, checked before the library parses it.
//!
//! ```text
//! schedule  = macro | fields          fields: 5, or 6 with the second first
//! field     = "*" | item {"," item}
//! item      = value | value "-" value | ("*" | value "-" value) "/" step
//! value     = number | name           names: months and days of the week
//! day       = field | "?" | "L" | "LW" | items, where an item may also be number "W"
//! weekday   = ["+"] field | "?" | items, where an item may also be value "L" | value "#" 1…5
//! ```
//!
//! The library accepts expressions that it does not understand. It replaces names before it splits
//! the fields, so that `MON` as a month is January, and it ignores empty items.
//!
//! Invariant: the library accepts every expression that is accepted here, with the same meaning.

use std::fmt;

/// The maximum number of digits of a number; `05` is 5.
const DIGITS_MAX: usize = 2;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// The length of a short name, such as `mon`.
const SHORT_NAME: usize = 3;

/// The macros and their expansions.
const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields, in order.
const FIELDS: [Field; 6] = [
    Field::new("second", 0, 59, &[]),
    Field::new("minute", 0, 59, &[]),
    Field::new("hour", 0, 23, &[]),
    Field::new("day of month", 1, 31, &[]),
    Field::new("month", 1, 12, &MONTHS),
    Field::new("day of week", 0, 7, &WEEKDAYS),
];
const DAY: &str = "day of month";
const WEEKDAY: &str = "day of week";

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The field: `second`, `minute`, `hour`, `day of month`, `month`, `day of week`, `macro`,
    /// `zone`, `dst`, or `schedule` for an error in no single field.
    pub field: &'static str,
    /// The given text.
    pub given: String,
    /// The error.
    pub reason: String,
    /// The allowed values.
    pub allowed: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, given, reason, allowed } = self;
        write!(f, "the {field} {given:?} is not valid: {reason}; allowed: {allowed}")
    }
}

impl Refused {
    /// Returns the refusal of a whole schedule.
    pub(super) fn schedule(given: &str, reason: impl Into<String>) -> Self {
        let allowed = "5 fields, or 6 with the second first, or a macro such as @daily";
        let given = given.to_owned();
        Self { field: "schedule", given, reason: reason.into(), allowed: allowed.to_owned() }
    }

    /// Returns the refusal of a stored option that this release does not know.
    pub(crate) fn policy(field: &'static str, given: &str, reason: String) -> Self {
        let allowed = "the choices of this release".to_owned();
        Self { field, given: given.to_owned(), reason, allowed }
    }
}

/// Returns the normal form for the library: numbers instead of names, fields instead of a macro,
/// one space between fields.
///
/// # Errors
/// `Refused` with the first invalid field.
pub(super) fn normalise(expression: &str) -> Result<String, Refused> {
    if let Some(other) = expression.chars().find(|c| !c.is_ascii_graphic() && !" \t".contains(*c)) {
        let reason = format!("it contains {other:?}");
        return Err(Refused::schedule(expression, reason));
    }
    let given: Vec<&str> = expression.split_ascii_whitespace().collect();
    if let [name] = given[..]
        && name.starts_with('@')
    {
        return expand(name);
    }
    if !matches!(given.len(), 5 | 6) {
        let reason = format!("it has {} fields", given.len());
        return Err(Refused::schedule(expression, reason));
    }
    let fields = FIELDS.iter().skip(FIELDS.len() - given.len());
    let normal: Result<Vec<_>, _> =
        fields.zip(given).map(|(field, given)| field.normalise(given)).collect();
    Ok(normal?.join(" "))
}

fn expand(name: &str) -> Result<String, Refused> {
    let found = MACROS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, fields)| (*fields).to_owned()).ok_or_else(|| Refused {
        field: "macro",
        given: name.to_owned(),
        reason: "this macro does not exist".to_owned(),
        allowed: MACROS.map(|(known, _)| known).join(", "),
    })
}

/// A field of the grammar.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// The full names of its values, in order; the first is the name of the least value.
    names: &'static [&'static str],
}

/// A value, and whether it was given by name.
struct Value {
    number: u8,
    is_name: bool,
}

impl Field {
    const fn new(name: &'static str, least: u8, most: u8, names: &'static [&'static str]) -> Self {
        Self { name, least, most, names }
    }

    fn normalise(&self, given: &str) -> Result<String, Refused> {
        self.read(&given.to_ascii_lowercase()).map_err(|reason| Refused {
            field: self.name,
            given: given.to_owned(),
            reason,
            allowed: self.allowed(),
        })
    }

    /// Returns the field in normal form, or the error. `given` is in lower case.
    fn read(&self, given: &str) -> Result<String, String> {
        match (given, self.name) {
            ("*", _) | ("?", DAY | WEEKDAY) => return Ok("*".to_owned()),
            ("l" | "lw", DAY) => return Ok(given.to_ascii_uppercase()),
            _ => {}
        }
        let (plus, items) = match given.strip_prefix('+') {
            Some(items) if self.name == WEEKDAY => ("+", items),
            _ => ("", given),
        };
        let items: Result<Vec<_>, _> = items.split(',').map(|item| self.item(item)).collect();
        Ok(format!("{plus}{}", items?.join(",")))
    }

    fn item(&self, item: &str) -> Result<String, String> {
        if item.is_empty() {
            return Err("its list has an empty item".to_owned());
        }
        if let Some((range, step)) = item.split_once('/') {
            let range = match range {
                "*" => range.to_owned(),
                _ => self.range(range).ok_or_else(|| {
                    format!("the step of {item:?} needs * or a range before it")
                })??,
            };
            let step = number(step).filter(|step| (1..=self.most).contains(step));
            let step = step.ok_or_else(|| format!("a step must be 1 to {}", self.most))?;
            return Ok(format!("{range}/{step}"));
        }
        if let Some(range) = self.range(item) {
            return range;
        }
        match self.name {
            DAY => {
                if let Some(day) = item.strip_suffix('w') {
                    return Ok(format!("{}W", self.value(day)?.number));
                }
                if matches!(item, "l" | "lw") {
                    return Err(format!("{} must stand alone", item.to_ascii_uppercase()));
                }
            }
            WEEKDAY => {
                if let Some(day) = item.strip_suffix('l') {
                    return Ok(format!("{}L", self.value(day)?.number));
                }
                if let Some((day, nth)) = item.split_once('#') {
                    let nth = number(nth).filter(|nth| (1..=5).contains(nth));
                    let nth = nth.ok_or("# must be followed by 1 to 5")?;
                    return Ok(format!("{}#{nth}", self.value(day)?.number));
                }
            }
            _ => {}
        }
        self.value(item).map(|value| value.number.to_string())
    }

    /// Returns a range in numbers; `None` if the text has no `-`.
    fn range(&self, text: &str) -> Option<Result<String, String>> {
        let (first, last) = text.split_once('-')?;
        let range = self.value(first).and_then(|first| {
            let last = self.value(last)?;
            let is_sunday = self.name == WEEKDAY && last.is_name && last.number == 0;
            // `FRI-SUN` ends with the week; `SUN-SUN` is one day.
            let last = if is_sunday && first.number > 0 { 7 } else { last.number };
            if first.number > last {
                return Err(format!("the range {text:?} ends before it begins"));
            }
            Ok(format!("{}-{last}", first.number))
        });
        Some(range)
    }

    fn value(&self, text: &str) -> Result<Value, String> {
        // Months begin with 1 and days with 0: each with the least value of its field.
        let mut names = (self.least..).zip(self.names);
        let named = names.find(|(_, name)| text == **name || text == &name[..SHORT_NAME]);
        if let Some((number, _)) = named {
            return Ok(Value { number, is_name: true });
        }
        match number(text).filter(|number| (self.least..=self.most).contains(number)) {
            Some(number) => Ok(Value { number, is_name: false }),
            None => Err(format!("{text:?} is not one of its values")),
        }
    }

    /// Describes the values that the field allows.
    fn allowed(&self) -> String {
        let Self { name, least, most, .. } = self;
        let names = match self.names {
            [first, .., last] => format!(" or {first} to {last} (or their first three letters)"),
            _ => String::new(),
        };
        let also = match *name {
            DAY => "; or ?, L or LW alone; 15W as an item",
            WEEKDAY => "; or ? alone; 5L and 5#2 as items; + before all",
            _ => "",
        };
        format!(
            "*, {least} to {most}{names}, ranges (a-b), steps (*/n, a-b/n) of 1 to {most}, \
             lists of these with commas{also}"
        )
    }
}

fn number(text: &str) -> Option<u8> {
    let is_number =
        (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}
