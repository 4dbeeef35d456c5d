//! Reads the value of `--data`: a text, `@FILE`, or `-` for standard input.

use std::io::Read;

use picloud_shared::execution::without_bom;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::Failure;

/// Reads the bytes.
pub(super) fn read_data(data: &str) -> Result<Vec<u8>, Failure> {
    if data == "-" {
        let mut body = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut body);
        read.map_err(|error| Failure(format!("cannot read standard input: {error}")))?;
        Ok(body)
    } else if let Some(file) = data.strip_prefix('@') {
        std::fs::read(file).map_err(|error| Failure(format!("cannot read {file}: {error}")))
    } else {
        Ok(data.as_bytes().to_vec())
    }
}

/// Reads the bytes and parses them as JSON.
pub(super) fn read_json<T: DeserializeOwned>(data: &str) -> Result<T, Failure> {
    let bytes = read_data(data)?;
    serde_json::from_slice(without_bom(&bytes)).map_err(|error| {
        Failure(match error.classify() {
            Category::Data => format!("--data does not have the expected form: {error}"),
            _ => format!("--data is not JSON, like '{{\"id\": 7}}': {error}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use picloud::json::Verbatim;
    use serde_json::json;

    use super::*;

    #[test]
    fn data_is_json_or_the_reason_why_not() {
        assert_eq!(read_json(r#"{"id": 7}"#).ok(), Some(Verbatim(json!({ "id": 7 }))));
        assert_eq!(read_json("\u{feff}[1]").ok(), Some(Verbatim(json!([1]))));
        let refused = read_json::<Verbatim>("hello").err().map(|Failure(said)| said);
        assert!(refused.is_some_and(|said| said.starts_with("--data is not JSON")));
        assert!(read_json::<Verbatim>("@/does/not/exist").is_err());
        let refused = read_json::<BTreeMap<String, Verbatim>>("[1]").err();
        assert!(refused.is_some_and(|Failure(said)| said.contains("expected form: invalid type")));
    }
}
