//! Random steps of runs, as the JSON that `steps.rhai` takes.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use serde::Serialize;
use serde_json::{Value, json};

/// The name of the script that executes the steps.
pub(super) const SCRIPT: &str = "steps";
/// The collection whose changes fire a trigger.
pub(super) const WATCHED: &str = "watched";
/// The collections of the steps.
pub(super) const COLLECTIONS: [&str; 2] = [WATCHED, "plain"];
/// The bucket of the steps.
pub(super) const BUCKET: &str = "bucket";

/// Few keys, so that steps often collide. Their byte order is not alphabetical.
const KEYS: [&str; 4] = ["a", "a:1", "Z", "ä"];
const PATHS: [&str; 4] = ["a.txt", "a/b.txt", "a/c.txt", "ä"];
const PREFIXES: [&str; 4] = ["", "a", "a:", "none"];
const QUEUES: [&str; 2] = ["mails", "reports"];

/// A key of a collection.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Place {
    pub(super) collection: &'static str,
    pub(super) key: &'static str,
}

/// A part of a list.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    pub(super) prefix: &'static str,
    pub(super) limit: usize,
    pub(super) cursor: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Step {
    Get(Place),
    Has(Place),
    Entry(Place),
    Set {
        #[serde(flatten)]
        at: Place,
        value: Value,
    },
    SetIfAbsent {
        #[serde(flatten)]
        at: Place,
        value: Value,
    },
    Delete(Place),
    Increment {
        #[serde(flatten)]
        at: Place,
        by: i64,
    },
    List {
        collection: &'static str,
        #[serde(flatten)]
        part: Part,
    },
    Put {
        path: &'static str,
        content: String,
    },
    Read {
        path: &'static str,
    },
    Remove {
        path: &'static str,
    },
    Paths(Part),
    Send {
        queue: &'static str,
        payload: Value,
        dedupe: Option<&'static str>,
    },
    Throw {
        error: String,
    },
    /// Catches a failure. The changes before it stay.
    Attempt {
        steps: Vec<Step>,
    },
    /// Calls this script with other steps. If it fails, its changes are undone.
    Call {
        steps: Vec<Step>,
    },
}

/// The runs of a sequence.
pub(super) fn sequence() -> impl Strategy<Value = Vec<Vec<Step>>> {
    vec(vec(step(), 2..12), 2..6)
}

fn place() -> impl Strategy<Value = Place> {
    (select(&COLLECTIONS), select(&KEYS)).prop_map(|(collection, key)| Place { collection, key })
}

fn part(names: &'static [&'static str]) -> impl Strategy<Value = Part> {
    (select(&PREFIXES), 1..4_usize, proptest::option::of(select(names)))
        .prop_map(|(prefix, limit, cursor)| Part { prefix, limit, cursor })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => (-3..4_i64).prop_map(Value::from),
        1 => select(vec![
            Value::Null,
            json!(true),
            json!(i64::MAX),
            json!(1.0),
            json!(0.1),
            json!(""),
            json!("ä\u{0}😀"),
            json!([1, [2], []]),
            json!({"b": {"c": [null]}, "a": ""}),
            json!({}),
        ]),
    ]
}

fn simple_step() -> impl Strategy<Value = Step> {
    let path = || select(&PATHS);
    let (keys, paths) = (&KEYS[..], &PATHS[..]);
    let dedupe = prop_oneof![2 => Just(None), 1 => Just(Some("x")), 1 => Just(Some("y"))];
    prop_oneof![
        2 => place().prop_map(Step::Get),
        1 => place().prop_map(Step::Has),
        1 => place().prop_map(Step::Entry),
        4 => (place(), value()).prop_map(|(at, value)| Step::Set { at, value }),
        2 => (place(), value()).prop_map(|(at, value)| Step::SetIfAbsent { at, value }),
        3 => place().prop_map(Step::Delete),
        2 => (place(), -5..6_i64).prop_map(|(at, by)| Step::Increment { at, by }),
        2 => (select(&COLLECTIONS), part(keys))
            .prop_map(|(collection, part)| Step::List { collection, part }),
        2 => (path(), "[a-zäß]{0,5}").prop_map(|(path, content)| Step::Put { path, content }),
        1 => path().prop_map(|path| Step::Read { path }),
        1 => path().prop_map(|path| Step::Remove { path }),
        1 => part(paths).prop_map(Step::Paths),
        2 => (select(&QUEUES), value(), dedupe)
            .prop_map(|(queue, payload, dedupe)| Step::Send { queue, payload, dedupe }),
        1 => (0..100).prop_map(|number| Step::Throw { error: format!("thrown {number}") }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    simple_step().prop_recursive(3, 12, 4, |step| {
        let steps = vec(step.clone(), 1..5);
        let called = vec(step.clone(), 1..5).prop_map(|steps| Step::Call { steps });
        prop_oneof![
            8 => step,
            2 => called.clone().prop_map(|call| Step::Attempt { steps: vec![call] }),
            1 => called,
            1 => steps.prop_map(|steps| Step::Attempt { steps }),
        ]
    })
}
