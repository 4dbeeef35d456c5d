//! A program: its functions, its statements, and the variables in scope at each place.

use std::fmt::Write;

use crate::kind::{Kind, Signature};
use crate::random::Random;

/// The maximum nesting of statements.
pub(crate) const NESTING_MAX: usize = 3;

/// A variable in scope.
#[derive(Clone)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) constant: bool,
}

/// A script function.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) signature: Signature,
    /// The type of `this` in its body, if it has one.
    pub(crate) this: Option<Kind>,
}

/// Generates one program.
pub(crate) struct Generator {
    pub(crate) random: Random,
    text: String,
    names: usize,
    /// One list per open block, the innermost last.
    scopes: Vec<Vec<Variable>>,
    /// The functions that the current code can call.
    pub(crate) functions: Vec<Function>,
    pub(crate) this: Option<Kind>,
    pub(crate) in_function: bool,
    pub(crate) loops: usize,
    /// The number of statements and loops left to write, which keeps a program short.
    pub(crate) budget: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            text: String::new(),
            names: 0,
            scopes: vec![Vec::new()],
            functions: Vec::new(),
            this: None,
            in_function: false,
            loops: 0,
            budget: 60,
        }
    }

    /// Returns the program's source.
    pub(crate) fn program(mut self) -> String {
        for _ in 0..self.random.below(5) {
            self.function();
        }
        let body = std::mem::take(&mut self.text);
        for _ in 0..4 + self.random.below(12) {
            self.statement(0);
        }
        let end = self.everything_in_scope();
        // Rhai finds functions no matter where they are written.
        if self.random.chance(50) {
            format!("{body}{}{end}\n", self.text)
        } else {
            format!("{}{body}{end}\n", self.text)
        }
    }

    /// Writes a function without captured variables. It only calls functions written earlier, so
    /// that every program ends.
    fn function(&mut self) {
        let name = self.name("f");
        let signature = Signature::random(&mut self.random);
        let this = self.random.chance(30).then(|| Kind::plain(&mut self.random, 1));
        let parameters: Vec<Variable> = signature
            .parameters
            .iter()
            .map(|kind| Variable { name: self.name("p"), kind: kind.clone(), constant: false })
            .collect();
        let list = names(&parameters);
        self.line(&format!("fn {name}({list}) {{"));
        let outer = std::mem::replace(&mut self.scopes, vec![parameters]);
        let budget = std::mem::replace(&mut self.budget, 8);
        let loops = std::mem::take(&mut self.loops);
        (self.this, self.in_function) = (this.clone(), true);
        for _ in 0..self.random.below(4) {
            self.statement(1);
        }
        let result = self.expression(&signature.result, 2);
        if self.random.chance(30) {
            self.line(&format!("return {result};"));
        } else {
            self.line(&result);
        }
        self.line("}");
        (self.this, self.in_function) = (None, false);
        (self.scopes, self.budget, self.loops) = (outer, budget, loops);
        self.functions.push(Function { name, signature, this });
    }

    /// Returns an array of the texts of all variables, by which two interpreters are compared.
    /// Leaves out pointers, because the names of closures differ.
    fn everything_in_scope(&mut self) -> String {
        let mut end = String::from("[");
        for variable in self.scopes.iter().flatten() {
            let name = &variable.name;
            let _ = if variable.kind.is_pointer() {
                write!(end, "type_of({name}), ")
            } else {
                write!(end, "`${{{name}}}`, type_of({name}), ")
            };
        }
        end.push(']');
        end
    }

    pub(crate) fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        // Sometimes a name that is taken, to test shadowing.
        if self.random.chance(6) && prefix == "v" {
            let visible: Vec<&Variable> = self.scopes.iter().flatten().collect();
            if !visible.is_empty() {
                let taken = visible[self.random.below(visible.len())];
                if !taken.constant {
                    return taken.name.clone();
                }
            }
        }
        format!("{prefix}{}", self.names)
    }

    pub(crate) fn line(&mut self, line: &str) {
        let depth = self.scopes.len().saturating_sub(1);
        let _ = writeln!(self.text, "{:1$}{line}", "", depth * 4);
    }

    pub(crate) fn declare(&mut self, name: String, kind: Kind, constant: bool) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(Variable { name, kind, constant });
        }
    }

    /// Returns the variables of a kind, without shadowed ones.
    pub(crate) fn variables(&self, wanted: impl Fn(&Variable) -> bool) -> Vec<Variable> {
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for variable in self.scopes.iter().flatten().rev() {
            if !seen.contains(&&variable.name) {
                seen.push(&variable.name);
                if wanted(variable) {
                    found.push(variable.clone());
                }
            }
        }
        found
    }

    pub(crate) fn some_variable(&mut self, wanted: impl Fn(&Variable) -> bool) -> Option<Variable> {
        let found = self.variables(wanted);
        (!found.is_empty()).then(|| found[self.random.below(found.len())].clone())
    }

    /// Writes `head {`, the statements that `body` writes, and `}`.
    pub(crate) fn block(&mut self, head: &str, tail: &str, body: impl FnOnce(&mut Self)) {
        self.line(&format!("{head} {{"));
        self.scopes.push(Vec::new());
        body(self);
        self.scopes.pop();
        self.line(&format!("}}{tail}"));
    }

    /// Returns the text that `write` writes, instead of appending it to the program.
    pub(crate) fn apart(&mut self, write: impl FnOnce(&mut Self)) -> String {
        let outer = std::mem::take(&mut self.text);
        self.scopes.push(Vec::new());
        write(self);
        self.scopes.pop();
        std::mem::replace(&mut self.text, outer)
    }
}

pub(crate) fn names(variables: &[Variable]) -> String {
    variables.iter().map(|variable| variable.name.as_str()).collect::<Vec<_>>().join(", ")
}
