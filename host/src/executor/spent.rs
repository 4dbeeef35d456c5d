//! The used part of the limits that a run shares with the runs it calls.

/// The used part of the limits that a run shares with the runs it calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) log_lines: u64,
    pub(super) log_bytes: u64,
    pub(super) host_calls: u64,
    pub(super) outbound_calls: u64,
}
