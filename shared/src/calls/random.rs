//! `random::*`: one seed per execution; the numbers are drawn in the guest.

use serde::{Deserialize, Serialize};

/// Asks for the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed;

/// 256 bits from the operating system's generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedBytes(pub [u8; 32]);
