//! What `--data` stands for: a text, `@FILE`, or `-` for standard input.

use std::io::Read;

use picloud::json::Verbatim;
use picloud_shared::execution::without_bom;
use serde_json::Value;

use super::Failure;

/// The bytes.
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

/// The JSON that they are.
pub(super) fn read_json(data: &str) -> Result<Value, Failure> {
    let bytes = read_data(data)?;
    serde_json::from_slice(without_bom(&bytes))
        .map(|Verbatim(data)| data)
        .map_err(|error| Failure(format!("--data is not JSON, like '{{\"id\": 7}}': {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_is_json_or_the_reason_why_not() {
        assert_eq!(read_json(r#"{"id": 7}"#).ok(), Some(json!({ "id": 7 })));
        assert_eq!(read_json("\u{feff}[1]").ok(), Some(json!([1])));
        let refused = read_json("hello").err().map(|Failure(said)| said);
        assert!(refused.is_some_and(|said| said.starts_with("--data is not JSON")));
        assert!(read_json("@/does/not/exist").is_err());
    }
}
