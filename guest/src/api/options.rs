//! The object of named options that some functions take as their last parameter.
//!
//! Invariant: an option of the wrong type is an error that names it. `()` is a wrong type too:
//! otherwise a version that was not found would mean "no condition".

use rhai::plugin::*;
use rhai::{ImmutableString, Map};

/// The options of one call. Each is taken once.
pub(super) struct Options {
    function: &'static str,
    given: Map,
    known: Vec<&'static str>,
}

impl Options {
    /// Creates the options that a script gave to the function with this name.
    pub(super) fn of(function: &'static str, given: Map) -> Self {
        Self { function, given, known: Vec::new() }
    }

    /// Takes a value of any kind.
    pub(super) fn value(&mut self, name: &'static str) -> Option<Dynamic> {
        self.known.push(name);
        self.given.remove(name).map(Dynamic::flatten)
    }

    /// Takes a whole number, which must be at least `least`.
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

    /// Takes a boolean; `false` if it is missing.
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

    /// Checks that all options were taken.
    ///
    /// # Errors
    /// Fails if the script gave an option that the function does not know.
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
