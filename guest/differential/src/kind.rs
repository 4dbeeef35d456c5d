//! The types of generated expressions.

use crate::random::Random;

/// The type of an expression, as precisely as the generator tracks it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Unit,
    Bool,
    Int,
    Float,
    Char,
    Text,
    Blob,
    /// A range of integers.
    Range,
    Array(Box<Kind>),
    /// An object whose keys are [`KEYS`].
    Map(Box<Kind>),
    /// A function pointer.
    Pointer(Box<Signature>),
}

/// The types of a function's parameters and result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signature {
    pub(crate) parameters: Vec<Kind>,
    pub(crate) result: Kind,
}

/// The keys of every generated object.
pub(crate) const KEYS: [&str; 3] = ["a", "b", "c"];

impl Kind {
    pub(crate) fn scalar(random: &mut Random) -> Self {
        match random.below(10) {
            0..=4 => Self::Int,
            5..=6 => Self::Text,
            7 => Self::Float,
            8 => Self::Bool,
            _ => Self::Char,
        }
    }

    /// Returns a type without function pointers, for a variable or a parameter.
    pub(crate) fn plain(random: &mut Random, depth: usize) -> Self {
        match random.below(if depth == 0 { 10 } else { 16 }) {
            0..=9 => Self::scalar(random),
            10..=12 => Self::Array(Box::new(Self::plain(random, depth - 1))),
            13..=14 => Self::Map(Box::new(Self::plain(random, depth - 1))),
            _ => match random.below(3) {
                0 => Self::Unit,
                1 => Self::Blob,
                _ => Self::Range,
            },
        }
    }

    pub(crate) fn is_pointer(&self) -> bool {
        matches!(self, Self::Pointer(_))
    }
}

impl Signature {
    pub(crate) fn random(random: &mut Random) -> Self {
        let parameters = (0..random.below(3)).map(|_| Kind::plain(random, 1)).collect();
        Self { parameters, result: Kind::plain(random, 1) }
    }
}
