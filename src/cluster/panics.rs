//! Panics of timely because another process is gone.
//!
//! Timely reports a lost connection by a panic of the thread that uses it. The workers panic next,
//! because their queue is poisoned. Neither is a bug: the message on the screen should be that of
//! the process that has failed first.

use std::sync::{Once, OnceLock};

use super::link::gone;
use crate::error::Error;

/// The first process that was lost.
static LOST: OnceLock<usize> = OnceLock::new();

/// The beginning of timely's message for a lost connection, which it promises to keep.
const LOST_MESSAGE: &str = "timely communication error:";
/// The message of threads that use a queue of a thread that has panicked.
const POISONED_MESSAGE: &str = "MergeQueue poisoned";
/// The beginnings of the messages of a thread that joins timely's threads, of which one has
/// panicked.
const JOIN_MESSAGES: [&str; 2] = ["Send thread panic", "Recv thread panic"];
/// The names of timely's threads, without the number of the other process.
const THREADS: [&str; 2] = ["timely:recv-", "timely:send-"];

/// Returns the error for the process whose connection timely has lost, if any.
///
/// Use it to tell a panic of a worker that was caused by another process from one of its own.
pub(crate) fn lost_process() -> Option<Error> {
    LOST.get().map(|process| gone(*process))
}

/// From now on, panics because of a lost process print nothing and reach no other hook.
pub(super) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let other = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let message = info.payload_as_str().unwrap_or_default();
            if !is_of_lost(&LOST, thread.name().unwrap_or_default(), message) {
                other(info);
            }
        }));
    });
}

/// Returns true if the panic of `thread` is due to a lost process, which is kept in `lost`.
fn is_of_lost(lost: &OnceLock<usize>, thread: &str, message: &str) -> bool {
    let process = THREADS.iter().find_map(|name| thread.strip_prefix(name)?.parse().ok());
    match process {
        Some(process) if message.starts_with(LOST_MESSAGE) => {
            lost.get_or_init(|| process);
            true
        }
        _ if lost.get().is_none() => false,
        _ => {
            message.starts_with(POISONED_MESSAGE)
                || JOIN_MESSAGES.iter().any(|joined| message.starts_with(joined))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_panics_that_follow_a_loss_are_silent() {
        let lost = OnceLock::new();
        let reads = "timely communication error: reading data: socket closed";
        for (thread, message) in [
            ("timely:work-0", "index out of bounds"),
            ("timely:work-0", "MergeQueue poisoned."),
            ("timely:send-1", "MergeQueue poisoned."),
            ("main", "Recv thread panic: Any { .. }"),
            ("timely:work-0", reads),
            ("timely:recv-x", reads),
            ("timely:recv-1", "index out of bounds"),
        ] {
            assert!(!is_of_lost(&lost, thread, message), "{thread} {message}");
        }
        assert_eq!(lost.get(), None);
        assert!(is_of_lost(&lost, "timely:recv-1", reads));
        assert!(is_of_lost(&lost, "timely:recv-2", reads));
        assert!(is_of_lost(&lost, "timely:work-0", "MergeQueue poisoned."));
        assert!(is_of_lost(&lost, "main", "Recv thread panic: Any { .. }"));
        assert!(is_of_lost(&lost, "main", "Send thread panic: Any { .. }"));
        assert!(!is_of_lost(&lost, "timely:work-0", "index out of bounds"));
        assert_eq!(lost.get(), Some(&1));
    }
}
