//! Scripts on the command line.

use std::str::FromStr;

/// A script, written `APP/SCRIPT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScriptAddress {
    pub(super) app: String,
    pub(super) script: String,
}

impl FromStr for ScriptAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((app, script)) if !app.is_empty() && !script.is_empty() => {
                Ok(Self { app: app.to_owned(), script: script.to_owned() })
            }
            _ => Err("a script is written APP/SCRIPT, like demo/hello"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_named_by_app_and_script() {
        let address = ScriptAddress { app: "demo".to_owned(), script: "hello".to_owned() };
        assert_eq!("demo/hello".parse(), Ok(address));
        for wrong in ["demo", "demo/", "/hello", ""] {
            assert!(wrong.parse::<ScriptAddress>().is_err(), "{wrong}");
        }
    }
}
