//! Concurrent runs are serialisable. Runs random scripts over a few keys. A model then looks for an
//! order of the runs that explains what each saw and the final state.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// The number of rounds, and of concurrent scripts in each: every order of them is tried.
const ROUNDS: u64 = 12;
const SCRIPTS: usize = 6;
const STEPS: u64 = 4;
const KEYS: [&str; 3] = ["a", "b", "c"];

type State = BTreeMap<&'static str, i64>;

/// A step of a script. Its result is part of the response.
#[derive(Clone, Copy)]
enum Step {
    /// Reads a value, or nothing.
    Get(&'static str),
    /// Sets a key to another key's value plus a number.
    Copy(&'static str, &'static str, i64),
    Set(&'static str, i64),
    Delete(&'static str),
    Increment(&'static str),
    /// Reads all keys.
    List,
}

impl Step {
    fn random(random: &mut impl FnMut() -> u64) -> Self {
        let mut key = || KEYS[usize::try_from(random() % 3).unwrap()];
        let (one, other) = (key(), key());
        let number = i64::try_from(random() % 100).unwrap();
        match random() % 6 {
            0 => Self::Get(one),
            1 => Self::Copy(one, other, number),
            2 => Self::Set(one, number),
            3 => Self::Delete(one),
            4 => Self::Increment(one),
            _ => Self::List,
        }
    }

    fn source(self, collection: &str) -> String {
        let kv = format!("kv::collection(\"{collection}\")");
        match self {
            Self::Get(key) => format!("seen.push({kv}.get(\"{key}\"));"),
            Self::Copy(to, from, more) => {
                format!("{kv}.set(\"{to}\", ({kv}.get(\"{from}\") ?? 0) + {more});")
            }
            Self::Set(key, number) => format!("{kv}.set(\"{key}\", {number});"),
            Self::Delete(key) => format!("seen.push({kv}.delete(\"{key}\"));"),
            Self::Increment(key) => format!("seen.push({kv}.increment(\"{key}\"));"),
            Self::List => format!("seen.push({kv}.list().items.map(|entry| entry.key));"),
        }
    }

    fn apply(self, state: &mut State, seen: &mut Vec<Value>) {
        match self {
            Self::Get(key) => seen.push(json!(state.get(key))),
            Self::Copy(to, from, more) => {
                let value = state.get(from).copied().unwrap_or(0) + more;
                state.insert(to, value);
            }
            Self::Set(key, number) => {
                state.insert(key, number);
            }
            Self::Delete(key) => seen.push(json!(state.remove(key).is_some())),
            Self::Increment(key) => {
                let value = state.entry(key).or_default();
                *value += 1;
                seen.push(json!(*value));
            }
            Self::List => seen.push(json!(state.keys().collect::<Vec<_>>())),
        }
    }
}

/// Whether some order of the scripts explains what each saw and the final state.
fn explained(scripts: &[(Vec<Step>, Value)], left: &[usize], state: &State, end: &Value) -> bool {
    if left.is_empty() {
        return json!(state) == *end;
    }
    left.iter().enumerate().any(|(position, script)| {
        let (steps, answer) = &scripts[*script];
        let (mut state, mut seen) = (state.clone(), Vec::new());
        steps.iter().for_each(|step| step.apply(&mut state, &mut seen));
        let mut rest = left.to_vec();
        rest.remove(position);
        json!(seen) == *answer && explained(scripts, &rest, &state, end)
    })
}

/// SplitMix64: returns the same numbers in each run of the test.
fn random_numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

async fn round(app: &TestApp, number: u64) {
    let mut random = random_numbers(number);
    let collection = format!("round-{number}");
    let mut scripts = Vec::new();
    for script in 0..SCRIPTS {
        let steps: Vec<_> = (0..STEPS).map(|_| Step::random(&mut random)).collect();
        let body: String = steps.iter().map(|step| step.source(&collection)).collect();
        let name = format!("script-{number}-{script}");
        app.deploy("shop", &name, &format!("let seen = []; {body} seen")).await;
        scripts.push((name, steps));
    }
    let calls = scripts.iter().map(|(name, _)| app.post(&format!("/x/shop/{name}")).send());
    let answers = join_all(calls).await;
    let scripts: Vec<_> = scripts
        .into_iter()
        .zip(answers)
        .map(|((_, steps), answer)| (steps, answer.is(200).json()))
        .collect();
    let mut end = serde_json::Map::new();
    for key in KEYS {
        let value = app.value("shop", &collection, key).await;
        if !value.is_null() {
            end.insert(key.to_owned(), value);
        }
    }
    let all: Vec<_> = (0..SCRIPTS).collect();
    let answers: Vec<_> = scripts.iter().map(|(_, answer)| answer).collect();
    assert!(
        explained(&scripts, &all, &State::new(), &Value::Object(end.clone())),
        "round {number}: no order of the runs explains {answers:?} and {end:?}"
    );
}

with_an_app! {
    async fn runs_at_the_same_time_are_explained_by_some_order(app) {
        for number in 0..ROUNDS {
            round(app, number).await;
        }
    }
}

with_an_app! {
    /// A read-only run sees one state too, even if it reads a key twice.
    async fn what_a_run_sees_twice_is_the_same(app) {
        let source = r#"
            let a = kv::collection("a");
            let before = [a.get("k"), a.list().items.len];
            let n = 0;
            while n < 300_000 { n += 1; }
            before == [a.get("k"), a.list().items.len]
        "#;
        let limits = json!({"fuel_max": 8_000_000_000_i64});
        let looks = [source.replace(", a.list().items.len", ""), source.replace("a.get(\"k\"), ", "")];
        for (number, source) in looks.iter().enumerate() {
            let script = json!({"name": format!("look-{number}"), "source": source, "limits": limits});
            app.deploy_with("shop", script).await;
        }
        app.deploy("shop", "write", r#"
            let a = kv::collection("a");
            let n = a.increment("k");
            a.set(n.to_string(), 1)
        "#).await;
        for _ in 0..3 {
            let look = |number: usize| app.post(&format!("/x/shop/look-{number}")).send();
            let write = async {
                for _ in 0..3 {
                    app.post("/x/shop/write").send().await.is(200);
                }
            };
            let (first, second, ()) = futures::join!(look(0), look(1), write);
            assert_eq!((first.is(200).json(), second.is(200).json()), (json!(true), json!(true)));
        }
    }
}

#[test]
fn the_model_sees_what_no_order_explains() {
    let add = vec![Step::Increment("a")];
    let both_saw_nothing = [(add.clone(), json!([1])), (add.clone(), json!([1]))];
    assert!(!explained(&both_saw_nothing, &[0, 1], &State::new(), &json!({"a": 1})));
    let one_after_the_other = [(add.clone(), json!([2])), (add, json!([1]))];
    assert!(explained(&one_after_the_other, &[0, 1], &State::new(), &json!({"a": 2})));
}
