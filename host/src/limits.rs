//! The limits of an execution: names, defaults and ceilings.
//!
//! ```text
//! ceiling   from the environment; the maximum for every script
//!   ▲
//! budget    per script; a budget above the ceiling is refused with the limit's name
//!   ▲
//! default   for a script without a budget, never above the ceiling
//! ```

use serde::{Deserialize, Serialize};

/// The size of a WebAssembly page, the unit in which a guest's memory grows.
pub const WASM_PAGE_BYTES: u64 = 65_536;

/// The minimum memory of a script: the interpreter itself needs most of it.
pub const MEMORY_BYTES_MIN: u64 = 8 << 20;

/// The fuel for about a millisecond of CPU time on the machine of `docs/benchmarks.md`. One unit is
/// about one wasm instruction, and is charged where the code branches.
pub const FUEL_PER_MS: u64 = 8_000_000;

/// The limits of one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `fuel`: wasm instructions.
    pub fuel_max: u64,
    /// `memory_bytes`: linear memory, including the interpreter.
    pub memory_bytes_max: u64,
    /// `wall_ms`: milliseconds from the start of the run to its end.
    pub wall_ms_max: u64,
    /// `response_bytes`: body and headers of the response.
    pub response_bytes_max: u64,
    /// `log_bytes`: messages and data of all log lines.
    pub log_bytes_max: u64,
    /// `log_lines`: the number of log lines.
    pub log_lines_max: u64,
    /// The number of characters of one log line's message; longer messages are truncated.
    pub log_line_chars_max: usize,
    /// `host_calls`: host calls, without log lines.
    pub host_calls_max: u64,
    /// `outbound_calls`: outbound requests.
    pub outbound_calls_max: u64,
    /// `effects`: changed entries and sent events.
    pub effects_max: u64,
    /// `effects_bytes`: the names of effects, and their values and payloads as JSON.
    pub effects_bytes_max: u64,
    /// `list_bytes`: the names and values of the entries of one listing.
    pub list_bytes_max: u64,
    /// `value_bytes`: a value or a payload, as JSON.
    pub value_bytes_max: u64,
    /// `host_call_bytes`: the size of one host call's request.
    pub host_call_bytes_max: u64,
    /// `call_depth`: the depth of nested script function calls.
    pub call_depth_max: u32,
}

impl Limits {
    /// The limits of a script without a budget.
    pub const DEFAULT: Self = Self {
        fuel_max: 100 * FUEL_PER_MS,
        memory_bytes_max: 32 << 20,
        wall_ms_max: 10_000,
        response_bytes_max: 4 << 20,
        log_bytes_max: 256 << 10,
        log_lines_max: 1_000,
        log_line_chars_max: 10_000,
        host_calls_max: 200,
        outbound_calls_max: 50,
        effects_max: 200,
        effects_bytes_max: 8 << 20,
        list_bytes_max: 8 << 20,
        value_bytes_max: 256 << 10,
        host_call_bytes_max: 8 << 20,
        call_depth_max: 64,
    };

    /// The default ceilings, which the environment can change.
    pub const CEILING: Self = Self {
        fuel_max: 5_000 * FUEL_PER_MS,
        memory_bytes_max: 256 << 20,
        wall_ms_max: 60_000,
        ..Self::DEFAULT
    };

    /// Returns the limits of a run under this ceiling.
    ///
    /// # Errors
    /// [`OverCeiling`] if the budget is above the ceiling or below the minimum.
    pub fn grant(&self, budget: &Budget) -> Result<Self, OverCeiling> {
        let pick = |limit, asked: Option<u64>, least, default: u64, ceiling| match asked {
            Some(asked) if asked > ceiling || asked < least => {
                Err(OverCeiling { limit, asked, least, most: ceiling })
            }
            Some(asked) => Ok(asked),
            None => Ok(default.min(ceiling)),
        };
        Ok(Self {
            fuel_max: pick("fuel", budget.fuel_max, 1, Self::DEFAULT.fuel_max, self.fuel_max)?,
            memory_bytes_max: pick(
                "memory_bytes",
                budget.memory_bytes_max,
                MEMORY_BYTES_MIN,
                Self::DEFAULT.memory_bytes_max,
                self.memory_bytes_max,
            )?,
            wall_ms_max: pick(
                "wall_ms",
                budget.wall_ms_max,
                1,
                Self::DEFAULT.wall_ms_max,
                self.wall_ms_max,
            )?,
            ..*self
        })
    }

    /// Returns the limits for a budget that was accepted under another ceiling. Values above the
    /// current ceiling are reduced to it.
    #[must_use]
    pub fn grant_at_most(&self, budget: &Budget) -> Self {
        let pick =
            |asked: Option<u64>, default: u64, ceiling| asked.unwrap_or(default).min(ceiling);
        Self {
            fuel_max: pick(budget.fuel_max, Self::DEFAULT.fuel_max, self.fuel_max),
            memory_bytes_max: pick(
                budget.memory_bytes_max,
                Self::DEFAULT.memory_bytes_max,
                self.memory_bytes_max,
            ),
            wall_ms_max: pick(budget.wall_ms_max, Self::DEFAULT.wall_ms_max, self.wall_ms_max),
            ..*self
        }
    }
}

/// A script's requested limits; `None` means the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The number of wasm instructions.
    pub fuel_max: Option<u64>,
    /// The linear memory in bytes.
    pub memory_bytes_max: Option<u64>,
    /// The wall-clock time in milliseconds.
    pub wall_ms_max: Option<u64>,
}

/// A script requested a limit that it cannot get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit} is {asked}, but must be {least} to {most}")]
pub struct OverCeiling {
    /// The limit's name.
    pub limit: &'static str,
    /// The requested value.
    pub asked: u64,
    /// The minimum.
    pub least: u64,
    /// The maximum.
    pub most: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_names_every_limit_as_the_api_does() {
        let guide = include_str!("../../docs/scripting.md");
        let rows = guide.lines().skip_while(|line| *line != "## Limits");
        let rows = rows.skip(1).take_while(|line| !line.starts_with("## "));
        let names: Vec<&str> = rows
            .filter_map(|row| row.strip_prefix("| ")?.split('|').next())
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        let limits = serde_json::to_value(Limits::DEFAULT).unwrap();
        for field in limits.as_object().unwrap().keys() {
            let name = field.strip_suffix("_max").unwrap();
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        for other in ["stack_bytes", "value_depth", "request_bytes", "form_fields", "form_files"] {
            assert!(names.contains(&other), "{other} is not in {names:?}");
        }
    }

    #[test]
    fn a_script_that_asks_for_nothing_gets_the_default() {
        assert_eq!(Limits::CEILING.grant(&Budget::default()), Ok(Limits::DEFAULT));
    }

    #[test]
    fn the_default_never_exceeds_the_ceiling() {
        let ceiling = Limits { fuel_max: 10, ..Limits::CEILING };
        assert_eq!(ceiling.grant(&Budget::default()).map(|limits| limits.fuel_max), Ok(10));
    }

    #[test]
    fn a_budget_is_granted_up_to_the_ceiling_and_refused_by_name_above_it() {
        let ask = |fuel_max| {
            Limits::CEILING.grant(&Budget { fuel_max: Some(fuel_max), ..Budget::default() })
        };
        let most = Limits::CEILING.fuel_max;
        assert_eq!(ask(most).map(|limits| limits.fuel_max), Ok(most));
        assert_eq!(ask(most + 1).unwrap_err().limit, "fuel");
        assert_eq!(ask(0).unwrap_err().to_string(), format!("fuel is 0, but must be 1 to {most}"));
        let memory = Budget { memory_bytes_max: Some(MEMORY_BYTES_MIN - 1), ..Budget::default() };
        assert_eq!(Limits::CEILING.grant(&memory).unwrap_err().limit, "memory_bytes");
    }
}
