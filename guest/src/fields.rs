//! Finds fields of `ctx` in a script that do not exist.
//!
//! A missing property is `()`, so that `ctx.requst.body` fails at `body`, which is correct. The
//! misspelling is found when the script is compiled, and reported if the script fails there.

use picloud_shared::execution::Position;
use rhai::{AST, ASTNode, BinaryExpr, Expr};

use crate::place::position;
use crate::request::{EVENT_FIELDS, EVENT_KINDS, EXECUTION_FIELDS, FIELDS, REQUEST_FIELDS};

/// The name of the constant.
const CONTEXT: &str = "ctx";

/// The errors, by the position at which a script fails because of them.
pub(crate) struct MissingFields(Vec<(Position, String)>);

impl MissingFields {
    /// Finds the missing fields of a script.
    pub(crate) fn of(tree: &AST) -> Self {
        let mut missing = Vec::new();
        tree.walk(&mut |path| {
            if let Some(ASTNode::Expr(Expr::Dot(chain, ..))) = path.last()
                && matches!(&chain.lhs, Expr::Variable(name, ..) if name.1 == CONTEXT)
            {
                missing.extend(missing_in(chain));
            }
            true
        });
        Self(missing)
    }

    /// Returns the message for a failure at this position.
    pub(crate) fn at(&self, place: Position) -> Option<&str> {
        self.0.iter().find(|(at, _)| *at == place).map(|(_, said)| &**said)
    }
}

/// Returns the possible failures of `ctx.a.b.c`: each at the field after a missing one.
fn missing_in(chain: &BinaryExpr) -> Vec<(Position, String)> {
    let mut missing = Vec::new();
    let Some((first, Some(second))) = link(&chain.rhs) else { return missing };
    let at = position(second.start_position());
    match first {
        "request" => missing.push((at, absent(first, "an event"))),
        "event" => missing.push((at, absent(first, "a request"))),
        _ if FIELDS.contains(&first) => {}
        _ => missing.push((at, unknown(CONTEXT, first, &FIELDS))),
    }
    let known = match first {
        "event" => {
            missing.extend(missing_in_event(second));
            return missing;
        }
        "request" => &REQUEST_FIELDS[..],
        "execution" => &EXECUTION_FIELDS,
        _ => return missing,
    };
    if let Some((second, Some(third))) = link(second)
        && !known.contains(&second)
    {
        let said = unknown(&format!("{CONTEXT}.{first}"), second, known);
        missing.push((position(third.start_position()), said));
    }
    missing
}

/// Returns the possible failures of the path after `ctx.event`.
fn missing_in_event(chain: &Expr) -> Vec<(Position, String)> {
    let Some((first, Some(second))) = link(chain) else { return Vec::new() };
    let at = position(second.start_position());
    let of = format!("{CONTEXT}.event");
    let Some((kind, fields)) = EVENT_KINDS.iter().find(|(kind, _)| *kind == first) else {
        if EVENT_FIELDS.contains(&first) {
            return Vec::new();
        }
        let kinds = EVENT_KINDS.iter().map(|(kind, _)| *kind);
        let known: Vec<_> = EVENT_FIELDS.into_iter().chain(kinds).collect();
        return vec![(at, unknown(&of, first, &known))];
    };
    let other = format!("there is no {of}.{kind}: an event of another kind has started this run");
    let mut missing = vec![(at, other)];
    if let Some((second, Some(third))) = link(second)
        && !fields.contains(&second)
    {
        let said = unknown(&format!("{of}.{kind}"), second, fields);
        missing.push((position(third.start_position()), said));
    }
    missing
}

fn absent(field: &str, instead: &str) -> String {
    format!("there is no {CONTEXT}.{field}: {instead} has started this run")
}

/// Returns the name of a link in a chain, and the rest of the chain.
fn link(expr: &Expr) -> Option<(&str, Option<&Expr>)> {
    match expr {
        Expr::Property(name, ..) => Some((&name.2, None)),
        Expr::Dot(chain, ..) => match &chain.lhs {
            Expr::Property(name, ..) => Some((&name.2, Some(&chain.rhs))),
            _ => None,
        },
        _ => None,
    }
}

fn unknown(of: &str, field: &str, known: &[&str]) -> String {
    let close = known.iter().map(|name| (strsim::damerau_levenshtein(field, name), name));
    match close.min().filter(|(distance, _)| *distance <= 2) {
        Some((_, name)) => format!("{of} has no field {field:?}; did you mean {name:?}?"),
        None => format!("{of} has no field {field:?}; its fields are {}", known.join(", ")),
    }
}
