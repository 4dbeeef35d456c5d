//! The limits that a script requests for a run, and those it gets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Result;
use crate::limits::{Budget, Limits as Ceiling};
use crate::store;

/// The limits that a script requests for a run; `null` for the platform's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, Eq, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ScriptLimits)]
pub struct Limits {
    /// The number of Wasm instructions.
    pub fuel_max: Option<u64>,
    /// Memory in bytes, including the interpreter's.
    pub memory_bytes_max: Option<u64>,
    /// Wall-clock time in milliseconds.
    pub wall_ms_max: Option<u64>,
}

impl From<store::ScriptLimits> for Limits {
    fn from(limits: store::ScriptLimits) -> Self {
        let shown = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
        Self {
            fuel_max: shown(limits.fuel_max),
            memory_bytes_max: shown(limits.memory_bytes_max),
            wall_ms_max: shown(limits.wall_ms_max),
        }
    }
}

impl Limits {
    /// Returns the limits to store, if the ceiling allows them.
    pub(super) fn granted(self, ceiling: &Ceiling) -> Result<store::ScriptLimits> {
        let Self { fuel_max, memory_bytes_max, wall_ms_max } = self;
        ceiling.grant(&Budget { fuel_max, memory_bytes_max, wall_ms_max })?;
        // No ceiling is above the maximum that the database can store.
        let stored = |limit: Option<u64>| limit.and_then(|limit| i64::try_from(limit).ok());
        Ok(store::ScriptLimits {
            fuel_max: stored(fuel_max),
            memory_bytes_max: stored(memory_bytes_max),
            wall_ms_max: stored(wall_ms_max),
        })
    }
}

/// The limits in force for a run.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[schema(as = ScriptLimitsInForce)]
pub struct LimitsInForce {
    /// The number of Wasm instructions.
    pub fuel_max: u64,
    /// Memory in bytes, including the interpreter's.
    pub memory_bytes_max: u64,
    /// Wall-clock time in milliseconds.
    pub wall_ms_max: u64,
}

impl LimitsInForce {
    pub(super) fn of(ceiling: &Ceiling, limits: &store::ScriptLimits) -> Self {
        let Limits { fuel_max, memory_bytes_max, wall_ms_max } = (*limits).into();
        let granted = ceiling.grant_at_most(&Budget { fuel_max, memory_bytes_max, wall_ms_max });
        Self {
            fuel_max: granted.fuel_max,
            memory_bytes_max: granted.memory_bytes_max,
            wall_ms_max: granted.wall_ms_max,
        }
    }
}
