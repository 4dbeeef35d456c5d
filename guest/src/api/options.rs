//! The object of named options that some functions take last.
//!
//! Invariant: an option is of the right kind or an error that names it, `()`
//! included: a version that was not found must not turn into no condition.

use rhai::plugin::*;
use rhai::{ImmutableString, Map};

/// The options of one call, each taken out once.
pub(super) struct Options {
    function: &'static str,
    given: Map,
    known: Vec<&'static str>,
}

impl Options {
    /// What a script gave to the function of this name.
    pub(super) fn of(function: &'static str, given: Map) -> Self {
        Self { function, given, known: Vec::new() }
    }

    /// Takes a value of any kind.
    pub(super) fn value(&mut self, name: &'static str) -> Option<Dynamic> {
        self.known.push(name);
        self.given.remove(name).map(Dynamic::flatten)
    }

    /// Takes a whole number that is at least `least`.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        least: i64,
    ) -> Result<Option<i64>, Box<EvalAltResult>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value.as_int() {
            Ok(number) if number >= least => Ok(Some(number)),
            Ok(number) => Err(self.wrong(name, &format!("at least {least}"), &number.to_string())),
            Err(kind) => Err(self.wrong(name, "a whole number", kind)),
        }
    }

    /// Takes a flag, `false` when it is left out.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Box<EvalAltResult>> {
        let Some(value) = self.value(name) else {
            return Ok(false);
        };
        value.as_bool().map_err(|kind| self.wrong(name, "true or false", kind))
    }

    /// Takes a text.
    pub(super) fn text(
        &mut self,
        name: &'static str,
    ) -> Result<Option<String>, Box<EvalAltResult>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value.try_cast_result::<ImmutableString>() {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(value) => Err(self.wrong(name, "a text", value.type_name())),
        }
    }

    /// Takes an object.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Map>, Box<EvalAltResult>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value.try_cast_result::<Map>() {
            Ok(object) => Ok(Some(object)),
            Err(value) => Err(self.wrong(name, "an object", value.type_name())),
        }
    }

    /// Ends the taking.
    ///
    /// # Errors
    /// When there are options that nothing has asked for.
    pub(super) fn end(self) -> Result<(), Box<EvalAltResult>> {
        let Self { function, given, known } = self;
        match given.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(format!("{function} has no option {name:?}; there are {}", known.join(", "))
                    .into())
            }
        }
    }

    fn wrong(&self, name: &str, expected: &str, found: &str) -> Box<EvalAltResult> {
        let function = self.function;
        format!("the option {name} of {function} must be {expected}, not {found}").into()
    }
}
