//! `random::*`: one seed per execution, from which the guest computes all random numbers.

use serde::{Deserialize, Serialize};

/// Requests the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed;

/// 256 bits from the operating system's random number generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedBytes(pub [u8; 32]);
