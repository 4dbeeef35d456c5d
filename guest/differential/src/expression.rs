//! Generates expressions of a requested type. A few have another type on purpose, because errors
//! are compared like values.

use crate::kind::{KEYS, Kind, Signature};
use crate::program::{Generator, Variable, names};

/// The percentage of expressions with a wrong type.
const WRONG_PERCENT: usize = 1;

impl Generator {
    /// Returns an expression of `kind`, at most `depth` operations deep.
    pub(crate) fn expression(&mut self, kind: &Kind, depth: usize) -> String {
        // The parser refuses a literal condition of another type.
        if *kind != Kind::Bool && self.random.chance(WRONG_PERCENT) {
            let other = Kind::plain(&mut self.random, 1);
            return self.expression_of(&other, depth);
        }
        self.expression_of(kind, depth)
    }

    fn expression_of(&mut self, kind: &Kind, depth: usize) -> String {
        if self.random.chance(35)
            && let Some(place) = self.read(kind, depth)
        {
            return place;
        }
        if depth == 0 {
            return self.literal(kind, 0);
        }
        match self.random.below(12) {
            0 => self.choice(kind, depth - 1),
            1 => self.call_by_name(kind, depth - 1).unwrap_or_else(|| self.literal(kind, depth)),
            2 => self.call_by_pointer(kind, depth - 1),
            3 => self.coalesced(kind, depth - 1),
            4 if self.budget > 0 => self.block_expression(kind, depth - 1),
            _ => self.operation(kind, depth - 1),
        }
    }

    /// Returns a variable of the kind, or a part of one.
    fn read(&mut self, kind: &Kind, depth: usize) -> Option<String> {
        if self.this.as_ref() == Some(kind) && self.random.chance(40) {
            return Some("this".to_owned());
        }
        let holds = |variable: &Variable| match &variable.kind {
            held if held == kind => true,
            Kind::Array(held) | Kind::Map(held) => **held == *kind,
            _ => false,
        };
        let variable = self.some_variable(holds)?;
        if variable.kind == *kind {
            return Some(variable.name);
        }
        Some(self.part(&variable, depth))
    }

    /// Returns an element or a property.
    pub(crate) fn part(&mut self, variable: &Variable, depth: usize) -> String {
        let name = &variable.name;
        if let Kind::Array(held) = &variable.kind {
            return match self.random.below(8) {
                0 if depth > 0 => {
                    let index = self.expression(&Kind::Int, depth - 1);
                    format!("{name}[abs({index} % 3)]")
                }
                1 => format!("{name}[-1]"),
                2 => format!("{name}[{}]", self.random.below(4)),
                3 => format!("({name}?[{}])", self.random.below(3)),
                // Never out of bounds, regardless of the array's current length.
                4..=6 => {
                    let other = self.literal(held, 0);
                    format!("({name}.get({}) ?? {other})", self.random.below(3))
                }
                _ => format!("{name}[{}]", self.random.below(2)),
            };
        }
        let key = *self.random.pick(&KEYS);
        match self.random.below(5) {
            0 => format!("{name}[\"{key}\"]"),
            1 => format!("({name}?.{key})"),
            _ => format!("{name}.{key}"),
        }
    }

    pub(crate) fn literal(&mut self, kind: &Kind, depth: usize) -> String {
        match kind {
            Kind::Unit => "()".to_owned(),
            Kind::Bool => self.random.pick(&["true", "false"]).to_string(),
            Kind::Int => self.integer(),
            Kind::Float => {
                self.random.pick(&["0.0", "1.5", "0.1", "-2.25", "3.0", "1e10", "0.3"]).to_string()
            }
            Kind::Char => self.random.pick(&["'a'", "'z'", "'é'", "'0'", "'\\n'"]).to_string(),
            Kind::Text => {
                let texts = ["\"\"", "\"a\"", "\"abc\"", "\"héé\"", "\"x,y\"", "`q`", "\"Zz9\""];
                self.random.pick(&texts).to_string()
            }
            Kind::Blob => format!("blob({}, {})", self.random.below(5), self.random.below(256)),
            Kind::Range => {
                let (from, to) = (self.random.below(4), self.random.below(6));
                format!("({from}{}{to})", self.random.pick(&["..", "..="]))
            }
            Kind::Array(held) => {
                let length = if self.random.chance(10) { 0 } else { 1 + self.random.below(4) };
                let items: Vec<String> =
                    (0..length).map(|_| self.expression(held, depth.saturating_sub(1))).collect();
                format!("[{}]", items.join(", "))
            }
            Kind::Map(held) => {
                let entries: Vec<String> = KEYS
                    .iter()
                    .map(|key| format!("{key}: {}", self.expression(held, depth.saturating_sub(1))))
                    .collect();
                format!("#{{ {} }}", entries.join(", "))
            }
            Kind::Pointer(signature) => self.pointer(signature, depth),
        }
    }

    fn integer(&mut self) -> String {
        match self.random.below(12) {
            0 => "9223372036854775807".to_owned(),
            1 => "0x1f".to_owned(),
            2 => "-1".to_owned(),
            3 => "1_000".to_owned(),
            _ => self.random.below(10).to_string(),
        }
    }

    /// Returns `if`, `switch` and similar constructs as expressions.
    fn choice(&mut self, kind: &Kind, depth: usize) -> String {
        let (first, second) = (self.expression(kind, depth), self.expression(kind, depth));
        let condition = self.expression(&Kind::Bool, depth);
        match self.random.below(4) {
            0 | 1 => format!("(if {condition} {{ {first} }} else {{ {second} }})"),
            2 => {
                let subject = self.expression(&Kind::Int, depth);
                let third = self.expression(kind, depth);
                format!(
                    "(switch {subject} {{ 0 | 1 => {first}, 2..5 if {condition} => {second}, \
                     _ => {third} }})"
                )
            }
            _ => {
                let subject = self.expression(&Kind::Text, depth);
                format!("(switch {subject} {{ \"a\" | \"abc\" => {first}, _ => {second} }})")
            }
        }
    }

    fn coalesced(&mut self, kind: &Kind, depth: usize) -> String {
        let value = self.expression(kind, depth);
        let first =
            if self.random.chance(50) { "()".to_owned() } else { self.expression(kind, depth) };
        format!("({first} ?? {value})")
    }

    fn block_expression(&mut self, kind: &Kind, depth: usize) -> String {
        self.budget -= 1;
        let kind = kind.clone();
        let shape = self.random.below(4);
        let inside = self.apart(|own| {
            own.statement(2);
            let value = own.expression(&kind, depth);
            own.line(&if shape == 0 { format!("break {value};") } else { value });
        });
        match shape {
            0 => format!("(loop {{\n{inside}}})"),
            1 => format!("(switch 1 {{ 1 => {{\n{inside}}} }})"),
            _ => format!("({{\n{inside}}})"),
        }
    }

    /// Returns a call of a function that was written earlier.
    pub(crate) fn call_by_name(&mut self, kind: &Kind, depth: usize) -> Option<String> {
        let fitting: Vec<_> = self
            .functions
            .iter()
            .filter(|function| function.signature.result == *kind)
            .cloned()
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let function = self.random.pick(&fitting).clone();
        let list = self.arguments(&function.signature, depth);
        let name = &function.name;
        let Some(this) = function.this else {
            return Some(format!("{name}({list})"));
        };
        let receiver = self.expression(&this, depth);
        Some(match self.random.below(3) {
            0 if list.is_empty() => format!("({receiver}).call({name})"),
            0 => format!("({receiver}).call({name}, {list})"),
            _ => format!("({receiver}).{name}({list})"),
        })
    }

    pub(crate) fn arguments(&mut self, signature: &Signature, depth: usize) -> String {
        let list: Vec<String> =
            signature.parameters.iter().map(|kind| self.expression(kind, depth)).collect();
        list.join(", ")
    }

    /// Returns a call of a function pointer, from a variable or created in place.
    fn call_by_pointer(&mut self, kind: &Kind, depth: usize) -> String {
        let held = self.some_variable(|variable| match &variable.kind {
            Kind::Pointer(signature) => signature.result == *kind,
            _ => false,
        });
        let (pointer, signature) = match held {
            Some(Variable { name, kind: Kind::Pointer(signature), .. }) => (name, *signature),
            _ => {
                let parameters =
                    (0..self.random.below(3)).map(|_| Kind::scalar(&mut self.random)).collect();
                let signature = Signature { parameters, result: kind.clone() };
                (format!("({})", self.pointer(&signature, depth)), signature)
            }
        };
        let list = self.arguments(&signature, depth);
        match self.random.below(3) {
            0 if list.is_empty() => format!("call({pointer})"),
            0 => format!("call({pointer}, {list})"),
            1 if self.random.chance(40) => {
                let receiver = self.expression(&Kind::Int, depth);
                let comma = if list.is_empty() { "" } else { ", " };
                format!("({receiver}).call({pointer}{comma}{list})")
            }
            _ => format!("{pointer}.call({list})"),
        }
    }

    /// Returns a closure, a function's name, `Fn("…")`, or a curried pointer.
    pub(crate) fn pointer(&mut self, signature: &Signature, depth: usize) -> String {
        let named: Vec<_> = self
            .functions
            .iter()
            .filter(|function| function.signature == *signature && function.this.is_none())
            .cloned()
            .collect();
        if !named.is_empty() && self.random.chance(60) {
            let name = self.random.pick(&named).name.clone();
            return if self.random.chance(50) { name } else { format!("Fn(\"{name}\")") };
        }
        if self.random.chance(12) {
            let kind = Kind::scalar(&mut self.random);
            let mut longer = signature.clone();
            longer.parameters.insert(0, kind.clone());
            let value = self.expression(&kind, depth.saturating_sub(1));
            let inner = self.closure(&longer, depth);
            return format!("({inner}).curry({value})");
        }
        self.closure(signature, depth)
    }

    fn closure(&mut self, signature: &Signature, depth: usize) -> String {
        let parameters: Vec<Variable> = signature
            .parameters
            .iter()
            .map(|kind| Variable { name: self.name("c"), kind: kind.clone(), constant: false })
            .collect();
        let list = names(&parameters);
        let long = self.budget > 0 && self.random.chance(35);
        let this = self.this.take();
        let in_function = std::mem::replace(&mut self.in_function, true);
        let loops = std::mem::take(&mut self.loops);
        let inside = self.apart(|own| {
            for parameter in parameters {
                own.declare(parameter.name, parameter.kind, false);
            }
            if long {
                own.budget -= 1;
                own.statement(2);
            }
            let value = own.expression(&signature.result, depth.saturating_sub(1));
            own.line(&value);
        });
        (self.this, self.in_function, self.loops) = (this, in_function, loops);
        if long {
            format!("|{list}| {{\n{inside}}}")
        } else {
            format!("|{list}| {}", inside.trim())
        }
    }

    /// Returns an operator or a method call that evaluates to `kind`.
    fn operation(&mut self, kind: &Kind, depth: usize) -> String {
        match kind {
            Kind::Unit | Kind::Pointer(_) => self.literal(kind, depth),
            Kind::Bool => self.truth(depth),
            Kind::Int => self.whole_number(depth),
            Kind::Float => self.number(depth),
            Kind::Char => {
                let text = self.expression(&Kind::Text, depth);
                match self.random.below(3) {
                    0 => format!("(({text}) + \"xyz\")[{}]", self.random.below(4)),
                    1 => format!("({text} + \"k\").get(0)"),
                    _ => format!("{}.to_upper()", self.literal(kind, 0)),
                }
            }
            Kind::Text => self.text(depth),
            Kind::Blob => {
                let (first, second) =
                    (self.expression(&Kind::Blob, depth), self.expression(&Kind::Blob, depth));
                format!("({first} + {second})")
            }
            Kind::Range => {
                let end = self.random.below(6);
                let start = self.expression(&Kind::Int, depth);
                format!("(({start} % 3)..{end})")
            }
            Kind::Array(held) => self.array(held, depth),
            Kind::Map(held) => {
                let (first, second) = (self.literal(kind, depth), self.expression(held, depth));
                format!("({first} + #{{ b: {second} }})")
            }
        }
    }

    fn truth(&mut self, depth: usize) -> String {
        let scalar = Kind::scalar(&mut self.random);
        match self.random.below(8) {
            0 => format!("!{}", self.expression(&Kind::Bool, depth)),
            1 => {
                let operator = *self.random.pick(&["&&", "||", "==", "!=", "^"]);
                let (first, second) =
                    (self.expression(&Kind::Bool, depth), self.expression(&Kind::Bool, depth));
                format!("({first} {operator} {second})")
            }
            2 => {
                let (item, list) = (
                    self.expression(&Kind::Int, depth),
                    self.expression(&Kind::Array(Box::new(Kind::Int)), depth),
                );
                format!("({item} {} {list})", self.random.pick(&["in", "!in"]))
            }
            3 => format!("({}).is_empty()", self.expression(&Kind::Text, depth)),
            4 => {
                let (first, second) =
                    (self.expression(&Kind::Text, depth), self.expression(&Kind::Text, depth));
                let test = self.random.pick(&["contains", "starts_with", "ends_with"]).to_string();
                format!("({first}).{test}({second})")
            }
            _ => {
                let operator = *self.random.pick(&["<", "<=", ">", ">=", "==", "!="]);
                let (first, second) =
                    (self.expression(&scalar, depth), self.expression(&scalar, depth));
                format!("({first} {operator} {second})")
            }
        }
    }

    fn whole_number(&mut self, depth: usize) -> String {
        match self.random.below(10) {
            0 => {
                let list = self.expression(&Kind::Array(Box::new(Kind::Int)), depth);
                format!("({list}).len()")
            }
            1 => format!("({}).len", self.expression(&Kind::Text, depth)),
            2 => {
                let list = self.expression(&Kind::Array(Box::new(Kind::Int)), depth);
                let (parameter, item) = (self.name("c"), self.name("c"));
                format!("({list}).reduce(|{parameter}, {item}| {parameter} + {item}, 0)")
            }
            3 => {
                let number = self.expression(&Kind::Int, depth);
                let function = *self.random.pick(&["abs", "sign", "to_int"]);
                format!("({number} % 1000).{function}()")
            }
            4 => {
                let number = self.expression(&Kind::Int, depth);
                format!("({number} & 0xff)[{}..{}]", self.random.below(3), 3 + self.random.below(3))
            }
            5 => format!("({} % 100).to_int()", self.expression(&Kind::Float, depth)),
            _ => {
                let operator =
                    *self.random.pick(&["+", "-", "*", "+", "-", "/", "%", "&", "|", "<<", "**"]);
                let (first, second) =
                    (self.expression(&Kind::Int, depth), self.expression(&Kind::Int, depth));
                match operator {
                    "<<" | "**" => format!("(({first} % 8) {operator} abs({second} % 5))"),
                    "*" => format!("(({first} % 999) * ({second} % 999))"),
                    "+" | "-" => format!("(({first} % 99999) {operator} ({second} % 99999))"),
                    // Sometimes the divisor is zero.
                    "/" | "%" if !self.random.chance(10) => {
                        format!("({first} {operator} {})", 1 + self.random.below(9))
                    }
                    _ => format!("({first} {operator} {second})"),
                }
            }
        }
    }

    fn number(&mut self, depth: usize) -> String {
        match self.random.below(4) {
            0 => format!("({}).to_float()", self.expression(&Kind::Int, depth)),
            1 => {
                let function = *self.random.pick(&["floor", "round", "abs"]);
                format!("({}).{function}()", self.expression(&Kind::Float, depth))
            }
            _ => {
                let operator = *self.random.pick(&["+", "-", "*", "/"]);
                let other = if self.random.chance(30) { Kind::Int } else { Kind::Float };
                let (first, second) =
                    (self.expression(&Kind::Float, depth), self.expression(&other, depth));
                format!("({first} {operator} {second})")
            }
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let value = Kind::plain(&mut self.random, 1);
        match self.random.below(8) {
            0 | 1 => {
                let (first, second) =
                    (self.expression(&Kind::Text, depth), self.expression(&value, depth));
                format!("`${{{first}}}-${{{second}}}`")
            }
            2 => format!("({}).to_string()", self.expression(&value, depth)),
            3 => {
                let function = *self.random.pick(&["to_upper", "to_lower"]);
                format!("({}).{function}()", self.expression(&Kind::Text, depth))
            }
            4 => {
                let text = self.expression(&Kind::Text, depth);
                format!("({text}).sub_string({}, {})", self.random.below(3), self.random.below(3))
            }
            5 => format!("type_of({})", self.expression(&value, depth)),
            6 => {
                let text = self.expression(&Kind::Text, depth);
                format!(
                    "({text} + \"abc\").sub_string({}..{})",
                    self.random.below(2),
                    2 + self.random.below(2)
                )
            }
            _ => {
                let (first, second) =
                    (self.expression(&Kind::Text, depth), self.expression(&value, depth));
                format!("({first} + {second})")
            }
        }
    }
}
