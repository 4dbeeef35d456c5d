//! Reads `benches/functions.txt`: the scripts that measure each function of `docs/functions.json`.

use std::collections::BTreeSet;

/// The values that every call can use; the head of `functions.txt` describes them.
const VALUES: &str = r#"
    let a = []; a.pad(10000, 7);
    let b = blob(100000, 7);
    let t = ""; t.pad(100000, 'a');
    let v = ""; v.pad(100000, 'a');
    let u = ""; u.pad(100000, "ü");
    let w = ""; w.pad(100000, ' ');
    let m = #{}; for x in 0..1000 { m[`k${x}`] = x; }
    let s = []; for x in 0..2000 { s.push(`text ${x}`); }
    let j = m.to_json();
    let f = 0.75; let i = 12345; let c = 'x'; let g = |x| 1;
    let url = "URL";
"#;

/// Modules whose functions call the host, which has limits of its own for a run.
const OF_THE_HOST: [&str; 9] = [
    "files::",
    "http::",
    "kv::",
    "log::",
    "pubsub::",
    "queue::",
    "scripts::",
    "secrets::",
    "time::now",
];

/// One call to measure.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `module::name`, `type.name`, or the name of another measured construct.
    pub function: &'static str,
    /// The call, in Rhai.
    pub call: &'static str,
}

impl Case {
    /// Whether the call needs the host.
    #[must_use]
    pub fn asks_the_host(&self) -> bool {
        let makes_a_handle = ["kv::collection", "files::bucket"].contains(&self.function);
        let logs = ["print", "debug"].contains(&self.function);
        let is_of_the_host = OF_THE_HOST.iter().any(|module| self.function.starts_with(module));
        (is_of_the_host && !makes_a_handle) || logs
    }

    /// Returns a script that repeats the call as often as its request states.
    #[must_use]
    pub fn script(&self, url: &str) -> String {
        let values = VALUES.replace("URL", url);
        let call = self.call;
        format!("{values}\nfor n in 0..ctx.request.body {{ {call}; }} ()")
    }
}

/// Returns all calls.
///
/// # Panics
/// If a line is malformed.
#[expect(clippy::expect_used, reason = "the lines are part of the sources")]
pub fn cases() -> impl Iterator<Item = Case> {
    let lines = include_str!("../functions.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (function, call) = line.split_once(" | ").expect("a name and a call");
        Case { function, call }
    })
}

/// Returns the names of all functions of scripts, as `functions.txt` writes them.
///
/// # Panics
/// If the reference is malformed.
#[must_use]
#[expect(clippy::expect_used, reason = "the reference is part of the sources")]
pub fn reference() -> BTreeSet<String> {
    let reference: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/functions.json")).expect("JSON");
    let named = |list: &str, owner: &str, between: &str| -> Vec<String> {
        let functions = reference[list].as_array().expect("a list");
        let name = |function: &serde_json::Value| {
            let name = function["name"].as_str().unwrap_or_default();
            match function[owner].as_str() {
                Some(owner) => format!("{owner}{between}{name}"),
                None => name.to_owned(),
            }
        };
        functions.iter().map(name).collect()
    };
    [named("functions", "module", "::"), named("standard", "of", ".")]
        .concat()
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_measured() {
        let measured: BTreeSet<String> = cases().map(|case| case.function.to_owned()).collect();
        let missing: Vec<_> =
            reference().into_iter().filter(|name| !measured.contains(name)).collect();
        assert!(missing.is_empty(), "benches/functions.txt lacks {missing:?}");
    }
}
