//! Generates arrays, and callbacks of native functions.

use crate::kind::{Kind, Signature};
use crate::program::Generator;

impl Generator {
    /// Returns an expression that evaluates to an array of `held`.
    pub(crate) fn array(&mut self, held: &Kind, depth: usize) -> String {
        let kind = Kind::Array(Box::new(held.clone()));
        match self.random.below(9) {
            0 => {
                let (first, second) =
                    (self.expression(&kind, depth), self.expression(&kind, depth));
                format!("({first} + {second})")
            }
            1 | 2 => {
                let from = Kind::scalar(&mut self.random);
                let list = self.expression(&Kind::Array(Box::new(from.clone())), depth);
                let pointer = self.callback(vec![from], held.clone(), depth);
                format!("({list}).map({pointer})")
            }
            3 | 4 => {
                let list = self.expression(&kind, depth);
                let pointer = self.callback(vec![held.clone()], Kind::Bool, depth);
                format!("({list}).filter({pointer})")
            }
            5 => {
                let list = self.expression(&kind, depth);
                format!("({list}).extract({}..{})", self.random.below(2), 1 + self.random.below(3))
            }
            6 => {
                let list = self.expression(&kind, depth);
                format!("({list}).extract({}, {})", self.random.below(3), self.random.below(3))
            }
            _ => self.literal(&kind, depth),
        }
    }

    /// Returns a callback for a native function: a closure, a pointer, or a name as text.
    fn callback(&mut self, parameters: Vec<Kind>, result: Kind, depth: usize) -> String {
        let signature = Signature { parameters, result };
        let pointer = self.pointer(&signature, depth);
        match pointer.strip_prefix("Fn(").and_then(|rest| rest.strip_suffix(')')) {
            Some(name) if self.random.chance(40) => name.to_owned(),
            _ => pointer,
        }
    }

    /// Returns a statement with a method that changes or reads the array `name`.
    pub(crate) fn change_array(&mut self, name: &str, held: &Kind) -> String {
        let value = self.expression(held, 1);
        match self.random.below(18) {
            0..=3 => format!("{name}.push({value});"),
            4 => format!("{name}.insert({}, {value});", self.random.below(3)),
            5 => format!("{name}.pop();"),
            6 => format!("{name}.shift();"),
            7 => format!("{name}.reverse();"),
            8 => format!("{name}.remove({});", self.random.below(3)),
            9 => format!("{name} += {value};"),
            10 => format!("{name}.truncate({});", 2 + self.random.below(4)),
            11 => format!("{name}.chop({});", 2 + self.random.below(4)),
            12 => {
                let order = self.callback(vec![held.clone(), held.clone()], Kind::Int, 1);
                match held {
                    // Ranges have two types. If a callback returns no number, Rhai orders types by
                    // their ids, which differ between machines.
                    Kind::Range => format!("{name}.sort(|a, b| 0);"),
                    _ => format!("{name}.sort({order});"),
                }
            }
            13 => {
                let same = self.callback(vec![held.clone(), held.clone()], Kind::Bool, 1);
                format!("{name}.dedup({same});")
            }
            14 => {
                let keep = self.callback(vec![held.clone()], Kind::Bool, 1);
                let function = *self.random.pick(&["retain", "drain"]);
                self.let_of(
                    &format!("{name}.{function}({keep})"),
                    Kind::Array(Box::new(held.clone())),
                )
            }
            15 => {
                let test = self.callback(vec![held.clone()], Kind::Bool, 1);
                let function = *self.random.pick(&["some", "all"]);
                self.let_of(&format!("{name}.{function}({test})"), Kind::Bool)
            }
            16 => {
                let test = self.callback(vec![held.clone()], Kind::Bool, 1);
                self.let_of(&format!("{name}.index_of({test})"), Kind::Int)
            }
            _ => {
                // `for_each` calls back with the element as `this`.
                let step = if *held == Kind::Int {
                    "this += 1".to_owned()
                } else {
                    format!("this = {value}")
                };
                format!("{name}.for_each(|| {step});")
            }
        }
    }

    /// Writes `let NAME = value;`, and puts the variable in scope.
    fn let_of(&mut self, value: &str, kind: Kind) -> String {
        let name = self.name("v");
        let line = format!("let {name} = {value};");
        self.declare(name, kind, false);
        line
    }
}
