//! What a run and those that it calls have used of the limits that they share.

/// What a run has used of the limits that it shares with the runs that it calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) log_lines: u64,
    pub(super) log_bytes: u64,
    pub(super) host_calls: u64,
    pub(super) outbound_calls: u64,
}
