//! The services as plain maps.
//!
//! A run changes a copy of the state, which replaces the state if the run succeeds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::steps::{Part, Place, SCRIPT, Step, WATCHED};

type Key = (&'static str, &'static str);

/// The result of a step. The model does not know ids or error positions.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Value(Value),
    /// The id of the message with this number.
    Message(usize),
    /// A caught error that contains this text.
    Caught(String),
    All(Vec<Seen>),
}

#[derive(Clone)]
struct Message {
    queue: &'static str,
    payload: Value,
    dedupe: Option<&'static str>,
}

/// The state that a run reads and changes.
#[derive(Clone, Default)]
struct State {
    entries: BTreeMap<Key, Value>,
    files: BTreeMap<&'static str, String>,
    messages: Vec<Message>,
    /// The keys that the run has changed.
    changed: BTreeSet<Key>,
}

/// The state after the runs of a sequence.
#[derive(Clone, Default)]
pub(super) struct Model {
    state: State,
    events: Vec<Value>,
}

impl Model {
    /// Runs the steps. Returns the response, or a part of the error.
    pub(super) fn run(&mut self, steps: &[Step]) -> Result<Seen, String> {
        let mut after = State { changed: BTreeSet::new(), ..self.state.clone() };
        let answer = after.all(steps)?;
        for key @ (collection, name) in &after.changed {
            let (old, new) = (self.state.entries.get(key), after.entries.get(key));
            let operation = match (old, new) {
                (None, None) => continue,
                (None, Some(_)) => "insert",
                (Some(_), Some(_)) => "update",
                (Some(_), None) => "delete",
            };
            if *collection == WATCHED {
                self.events.push(json!({"operation": operation, "key": name, "value": new}));
            }
        }
        self.state = after;
        Ok(answer)
    }

    /// Returns a collection's keys and values, in key order.
    pub(super) fn entries(
        &self,
        collection: &'static str,
    ) -> impl Iterator<Item = (&'static str, &Value)> {
        self.state.of_collection(collection)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        self.state.files.iter().map(|(path, content)| (*path, content))
    }

    /// Returns the number, queue and payload of each message.
    pub(super) fn messages(&self) -> impl Iterator<Item = (usize, &'static str, &Value)> {
        let messages = self.state.messages.iter().enumerate();
        messages.map(|(number, message)| (number, message.queue, &message.payload))
    }

    pub(super) fn events(&self) -> &[Value] {
        &self.events
    }
}

impl State {
    fn all(&mut self, steps: &[Step]) -> Result<Seen, String> {
        let seen: Result<_, _> = steps.iter().map(|step| self.one(step)).collect();
        seen.map(Seen::All)
    }

    fn one(&mut self, step: &Step) -> Result<Seen, String> {
        Ok(Seen::Value(match step {
            Step::Get(at) => json!(self.entries.get(&key(at))),
            Step::Has(at) => json!(self.entries.contains_key(&key(at))),
            Step::Entry(at) => match self.entries.get(&key(at)) {
                Some(value) => json!([at.key, value, self.changed.contains(&key(at))]),
                None => Value::Null,
            },
            Step::Set { at, value } => self.set(at, value.clone()),
            Step::SetIfAbsent { at, .. } if self.changed.contains(&key(at)) => {
                return Err(
                    "if_version cannot be used: this run has already changed the entry".to_owned()
                );
            }
            Step::SetIfAbsent { at, .. } if self.entries.contains_key(&key(at)) => json!(false),
            Step::SetIfAbsent { at, value } => self.set(at, value.clone()),
            Step::Delete(at) => json!(self.delete(at)),
            Step::Increment { at, by } => self.increment(at, *by)?,
            Step::List { collection, part } => {
                let (listed, cursor) = take(part, self.of_collection(collection));
                json!([listed, cursor])
            }
            Step::Put { path, content } => {
                self.files.insert(path, content.clone());
                Value::Null
            }
            Step::Read { path } => json!(self.files.get(path)),
            Step::Remove { path } => json!(self.files.remove(path).is_some()),
            Step::Paths(part) => {
                let (listed, cursor) =
                    take(part, self.files.iter().map(|(path, content)| (*path, content.len())));
                json!([listed, cursor])
            }
            Step::Send { queue, payload, dedupe } => {
                return Ok(Seen::Message(self.send(queue, payload, *dedupe)));
            }
            Step::Throw { error } => return Err(error.clone()),
            Step::Attempt { steps } => return Ok(self.attempt(steps)),
            Step::Call { steps } => return self.call(steps),
        }))
    }

    fn set(&mut self, at: &Place, value: Value) -> Value {
        self.entries.insert(key(at), value);
        self.changed.insert(key(at));
        json!(true)
    }

    fn delete(&mut self, at: &Place) -> bool {
        let existed = self.entries.remove(&key(at)).is_some();
        if existed {
            self.changed.insert(key(at));
        }
        existed
    }

    fn increment(&mut self, at: &Place, by: i64) -> Result<Value, String> {
        let number = match self.entries.get(&key(at)) {
            None => 0,
            Some(value) => value
                .as_i64()
                .ok_or_else(|| format!("the value of {:?} is not an integer", at.key))?,
        };
        let sum = number.checked_add(by).ok_or_else(|| {
            format!("the sum of {number} and {by} is outside the range of integers")
        })?;
        self.set(at, json!(sum));
        Ok(json!(sum))
    }

    fn send(
        &mut self,
        queue: &'static str,
        payload: &Value,
        dedupe: Option<&'static str>,
    ) -> usize {
        // The queues have no triggers, so all messages stay pending.
        let same = |message: &Message| message.queue == queue && message.dedupe == dedupe;
        let waiting = self.messages.iter().position(same).filter(|_| dedupe.is_some());
        waiting.unwrap_or_else(|| {
            self.messages.push(Message { queue, payload: payload.clone(), dedupe });
            self.messages.len() - 1
        })
    }

    fn attempt(&mut self, steps: &[Step]) -> Seen {
        let mut seen = Vec::new();
        for step in steps {
            match self.one(step) {
                Ok(one) => seen.push(one),
                Err(error) => {
                    seen.push(Seen::Caught(error));
                    break;
                }
            }
        }
        Seen::All(seen)
    }

    fn call(&mut self, steps: &[Step]) -> Result<Seen, String> {
        let before = self.clone();
        self.all(steps).map_err(|error| {
            *self = before;
            format!("script {SCRIPT}: {error}")
        })
    }

    fn of_collection(&self, collection: &str) -> impl Iterator<Item = (&'static str, &Value)> {
        let entries = self.entries.iter().filter(move |((its, _), _)| *its == collection);
        entries.map(|((_, name), value)| (*name, value))
    }
}

fn key(at: &Place) -> Key {
    (at.collection, at.key)
}

/// Returns a page of a list, and its cursor.
fn take<T>(
    part: &Part,
    all: impl Iterator<Item = (&'static str, T)>,
) -> (Vec<(&'static str, T)>, Option<&'static str>) {
    let mut listed: Vec<_> = all
        .filter(|(name, _)| name.starts_with(part.prefix))
        .filter(|(name, _)| part.cursor.is_none_or(|cursor| *name > cursor))
        .collect();
    let is_more = listed.len() > part.limit;
    listed.truncate(part.limit);
    let last = listed.last().map(|(name, _)| *name);
    (listed, last.filter(|_| is_more))
}
