//! When a failed attempt is made again.

use std::time::Duration;

use crate::planner::{NON_RETRYABLE, TaskLimits};

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An undo that failed is tried again at least so often: leaving half of a machine behind is the worst end.
const UNDO_RETRIES: u32 = 2;

/// The wait before attempt `tries + 1`: doubles from the task's own backoff, up to a minute.
pub(super) fn wait_after(limits: &TaskLimits, tries: u32) -> Duration {
    limits.backoff.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_WAIT)
}

/// Whether an exit code of `apply` says that another attempt may help.
pub(super) fn is_retryable(code: i32) -> bool {
    !NON_RETRYABLE.contains(&code)
}

/// How often an undo is tried again.
pub(super) fn undo_retries(limits: &TaskLimits) -> u32 {
    limits.retries.max(UNDO_RETRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let limits = TaskLimits { backoff: Duration::from_secs(1), ..TaskLimits::default() };
        let waits: Vec<u64> = (1..9).map(|tries| wait_after(&limits, tries).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait_after(&limits, u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn usage_permission_and_configuration_are_not_tried_again() {
        assert!(NON_RETRYABLE.iter().all(|code| !is_retryable(*code)));
        assert!(is_retryable(75) && is_retryable(1));
    }
}
