//! Generates statements.

use crate::kind::{KEYS, Kind, Signature};
use crate::program::{Generator, NESTING_MAX, Variable};

impl Generator {
    /// Writes one statement, `depth` blocks deep.
    pub(crate) fn statement(&mut self, depth: usize) {
        if self.budget == 0 || depth >= NESTING_MAX {
            return self.declaration();
        }
        self.budget -= 1;
        match self.random.below(26) {
            0..=5 => self.declaration(),
            6..=8 => self.assignment(),
            9..=10 => self.part_assignment(),
            11..=12 => self.collection_change(),
            13 => self.branch(depth),
            14..=16 => self.for_loop(depth),
            17 => self.counted_loop(depth),
            18 => self.attempt(depth),
            19 => self.switch(depth),
            20 => self.block("", "", |own| own.statements(depth + 1)),
            21 => self.pointer_declaration(),
            22 => self.this_change(),
            23 => self.call(),
            24 => self.leave(),
            _ => self.misfit(),
        }
    }

    fn statements(&mut self, depth: usize) {
        for _ in 0..1 + self.random.below(3) {
            self.statement(depth);
        }
    }

    fn declaration(&mut self) {
        let kind = Kind::plain(&mut self.random, 2);
        let value = self.expression(&kind, 2);
        let constant = self.random.chance(12);
        let name = self.name("v");
        self.line(&format!("{} {name} = {value};", if constant { "const" } else { "let" }));
        self.declare(name, kind, constant);
    }

    fn pointer_declaration(&mut self) {
        let signature = Signature::random(&mut self.random);
        let value = self.pointer(&signature, 2);
        let name = self.name("g");
        self.line(&format!("let {name} = {value};"));
        self.declare(name, Kind::Pointer(Box::new(signature)), false);
    }

    /// Writes an assignment to a variable, sometimes to a constant.
    fn assignment(&mut self) {
        let constants = self.random.chance(4);
        let Some(Variable { name, kind, .. }) =
            self.some_variable(|it| !it.kind.is_pointer() && (constants || !it.constant))
        else {
            return self.declaration();
        };
        let operator = self.assignment_operator(&kind);
        let value = bounded(&kind, self.expression(&kind, 2));
        self.line(&format!("{name} {operator} {value};"));
    }

    fn assignment_operator(&mut self, kind: &Kind) -> &'static str {
        let operators: &[&'static str] = match kind {
            Kind::Int => &["=", "=", "+=", "-=", "%=", "|=", "&=", "^="],
            Kind::Float => &["=", "+=", "-=", "*=", "/="],
            Kind::Text | Kind::Blob => &["=", "+=", "+="],
            Kind::Bool => &["=", "&=", "|="],
            _ => &["="],
        };
        operators[self.random.below(operators.len())]
    }

    /// Writes an assignment to an element, property, character, bit or byte, possibly nested.
    fn part_assignment(&mut self) {
        let inside = |variable: &Variable| {
            matches!(
                variable.kind,
                Kind::Array(_) | Kind::Map(_) | Kind::Text | Kind::Int | Kind::Blob
            ) && !variable.constant
        };
        let Some(variable) = self.some_variable(inside) else {
            return self.declaration();
        };
        let (mut place, mut kind) = (variable.name.clone(), variable.kind);
        loop {
            let held = match &kind {
                Kind::Array(held) => {
                    place = format!("{place}[{}]", self.random.below(3));
                    (**held).clone()
                }
                Kind::Map(held) => {
                    let key = *self.random.pick(&KEYS);
                    let dotted = self.random.chance(60);
                    place = if dotted {
                        format!("{place}.{key}")
                    } else {
                        format!("{place}[\"{key}\"]")
                    };
                    (**held).clone()
                }
                Kind::Text => {
                    let value = self.expression(&Kind::Char, 1);
                    place = format!("{place}[{}]", self.random.below(3));
                    return self.line(&format!("{place} = {value};"));
                }
                Kind::Int if self.random.chance(30) => {
                    let value = self.expression(&Kind::Bool, 1);
                    place = format!("{place}[{}]", self.random.below(64));
                    return self.line(&format!("{place} = {value};"));
                }
                Kind::Blob => {
                    let value = self.expression(&Kind::Int, 1);
                    place = format!("{place}[{}]", self.random.below(3));
                    return self.line(&format!("{place} = {value};"));
                }
                _ => break,
            };
            kind = held;
            if self.random.chance(30) {
                break;
            }
        }
        let operator = self.assignment_operator(&kind);
        let value = bounded(&kind, self.expression(&kind, 1));
        self.line(&format!("{place} {operator} {value};"));
    }

    fn collection_change(&mut self) {
        let is_array =
            |variable: &Variable| matches!(variable.kind, Kind::Array(_)) && !variable.constant;
        let Some(Variable { name, kind: Kind::Array(held), .. }) = self.some_variable(is_array)
        else {
            return self.declaration();
        };
        let line = self.change_array(&name, &held);
        self.line(&line);
    }

    fn branch(&mut self, depth: usize) {
        let condition = self.expression(&Kind::Bool, 2);
        self.block(&format!("if {condition}"), "", |own| own.statements(depth + 1));
        if self.random.chance(50) {
            let condition = self.expression(&Kind::Bool, 1);
            let head = if self.random.chance(50) {
                "else".to_owned()
            } else {
                format!("else if {condition}")
            };
            self.block(&head, "", |own| own.statements(depth + 1));
        }
    }

    fn for_loop(&mut self, depth: usize) {
        let (over, kind) = match self.random.below(6) {
            0 => (self.literal(&Kind::Range, 0), Kind::Int),
            1 => (self.expression(&Kind::Text, 1), Kind::Char),
            2 => (self.expression(&Kind::Range, 1), Kind::Int),
            3 => (format!("range({}, 7, 3)", self.random.below(4)), Kind::Int),
            4 => (self.expression(&Kind::Map(Box::new(Kind::Int)), 1) + ".keys()", Kind::Text),
            _ => {
                let held = Kind::scalar(&mut self.random);
                (self.expression(&Kind::Array(Box::new(held.clone())), 1), held)
            }
        };
        // Long ranges would use up the program's operations.
        let item = self.name("v");
        let counter = self.random.chance(45).then(|| self.name("i"));
        let head = match &counter {
            Some(counter) => format!("for ({item}, {counter}) in {over}"),
            None => format!("for {item} in {over}"),
        };
        self.block(&head, "", |own| {
            own.loops += 1;
            own.declare(item, kind, false);
            if let Some(counter) = counter {
                own.declare(counter, Kind::Int, false);
            }
            own.statements(depth + 1);
            own.loops -= 1;
        });
    }

    /// Writes `while`, `loop`, `do … while` or `do … until`, each with a few iterations.
    fn counted_loop(&mut self, depth: usize) {
        let counter = self.name("n");
        let rounds = 1 + self.random.below(4);
        self.line(&format!("let {counter} = 0;"));
        let (head, tail) = match self.random.below(4) {
            0 => (format!("while {counter} < {rounds}"), String::new()),
            1 => ("loop".to_owned(), String::new()),
            2 => ("do".to_owned(), format!(" while {counter} < {rounds};")),
            _ => ("do".to_owned(), format!(" until {counter} >= {rounds};")),
        };
        self.block(&head, &tail, |own| {
            own.line(&format!("{counter} += 1;"));
            // First, so that a `continue` below cannot skip it.
            own.line(&format!("if {counter} > {rounds} {{ break; }}"));
            own.loops += 1;
            own.statements(depth + 1);
            own.loops -= 1;
        });
        self.declare(counter, Kind::Int, true);
    }

    fn attempt(&mut self, depth: usize) {
        self.block("try", "", |own| {
            own.statements(depth + 1);
            if own.random.chance(50) {
                let kind = Kind::plain(&mut own.random, 1);
                let thrown = own.expression(&kind, 1);
                let condition = own.expression(&Kind::Bool, 1);
                own.line(&format!("if {condition} {{ throw {thrown}; }}"));
            }
        });
        let caught = self.name("e");
        let kept = self.name("v");
        let variable = self.random.chance(70);
        let head = if variable { format!("catch ({caught})") } else { "catch".to_owned() };
        let outer = self.some_variable(|it| it.kind == Kind::Text && !it.constant);
        self.block(&head, "", |own| {
            if variable {
                // The position of an error differs between bytecode and tree.
                own.line(&format!(
                    "if type_of({caught}) == \"map\" {{ {caught}.remove(\"line\"); \
                     {caught}.remove(\"position\"); }}"
                ));
                own.line(&format!("let {kept} = `${{{caught}}}`.sub_string(0, 80);"));
                if let Some(outer) = outer {
                    own.line(&format!("{} += {kept};", outer.name));
                }
                own.declare(kept, Kind::Text, false);
            }
            own.statements(depth + 1);
            if own.random.chance(8) {
                own.line("throw;");
            }
        });
    }

    fn switch(&mut self, depth: usize) {
        let subject = self.expression(&Kind::Int, 2);
        self.block(&format!("switch {subject}"), "", |own| {
            own.block("0 =>", ",", |own| own.statements(depth + 1));
            let condition = own.expression(&Kind::Bool, 1);
            own.block(&format!("1 | 3 if {condition} =>"), ",", |own| own.statements(depth + 1));
            own.block("2..6 =>", ",", |own| own.statements(depth + 1));
            if own.random.chance(70) {
                own.block("_ =>", "", |own| own.statements(depth + 1));
            }
        });
    }

    /// Writes a change of `this` if there is one, or of a variable through a function that does.
    fn this_change(&mut self) {
        if let Some(this) = self.this.clone() {
            let value = self.expression(&this, 1);
            return self.line(&format!("this = {value};"));
        }
        let Some(function) =
            self.functions.iter().rfind(|function| function.this.is_some()).cloned()
        else {
            return self.assignment();
        };
        let receiver = self.some_variable(|it| Some(&it.kind) == function.this.as_ref());
        let Some(receiver) = receiver else {
            return self.assignment();
        };
        let list = self.arguments(&function.signature, 1);
        self.line(&format!("{}.{}({list});", receiver.name, function.name));
    }

    fn call(&mut self) {
        let kinds: Vec<Kind> =
            self.functions.iter().map(|function| function.signature.result.clone()).collect();
        if kinds.is_empty() {
            return self.declaration();
        }
        let kind = self.random.pick(&kinds).clone();
        if let Some(call) = self.call_by_name(&kind, 2) {
            let name = self.name("v");
            self.line(&format!("let {name} = {call};"));
            self.declare(name, kind, false);
        }
    }

    /// Writes `break`, `continue`, `return` or `print`.
    fn leave(&mut self) {
        let condition = self.expression(&Kind::Bool, 1);
        let how = match self.random.below(4) {
            0 if self.loops > 0 => "break;".to_owned(),
            1 if self.loops > 0 => "continue;".to_owned(),
            2 if self.random.chance(30) => {
                let value = self.expression(&Kind::Int, 1);
                format!("return {value};")
            }
            _ => {
                let kind = Kind::plain(&mut self.random, 1);
                format!("print({});", self.expression(&kind, 1))
            }
        };
        self.line(&format!("if {condition} {{ {how} }}"));
    }

    /// Writes an access to a value without the indexer, property or function that it uses.
    fn misfit(&mut self) {
        let kind = Kind::plain(&mut self.random, 1);
        let name = self.name("v");
        let value = self.expression(&kind, 1);
        self.line(&format!("let {name} = {value};"));
        let other = self.expression(&Kind::Int, 1);
        let (caught, line) = (
            self.name("e"),
            match self.random.below(9) {
                0 => format!("{name}[\"k\"] = {other};"),
                1 => format!("{name}.k = {other};"),
                2 => format!("{name}[1] += {other};"),
                3 => format!("{name}.k[\"z\"] = {other};"),
                4 => format!("{name}.k.z += {other};"),
                5 => format!("{name}[0][1] = {other};"),
                6 => format!("{name}.missing({other});"),
                7 => format!("{name}[0].z = {other};"),
                _ => format!("let w = {name}.k; {name} = {other};"),
            },
        );
        self.line(&format!(
            "try {{ {line} }} catch ({caught}) {{ print(`${{{caught}.error}} ${{{caught}.message}}`); }}"
        ));
        // The variable can have any type now.
        self.line(&format!("let {name} = `${{{name}}}`;"));
        self.declare(name, Kind::Text, false);
    }
}

/// Returns a value that a loop can assign to a variable it is built from, without endless growth.
fn bounded(kind: &Kind, value: String) -> String {
    match kind {
        Kind::Text => format!("({value}).sub_string(0, 40)"),
        Kind::Array(_) | Kind::Blob => format!("({value}).extract(0, 8)"),
        _ => value,
    }
}
