//! The library's advice, worded for a command line: it names the options to use.

use crate::error::{Advice, Error};

/// Returns the message of `error`. Its advice names options of the commands.
pub(super) fn described(error: &Error) -> String {
    error.described(|advice| match advice {
        Advice::BeginAnew => "To begin anew, give --reset, or another --state and --lake.",
        Advice::OtherPlaces => "To begin anew, give another --state and --lake.",
        Advice::ChangedTopology => {
            "To keep the state of unchanged steps, give --adopt. To begin anew, give --reset, or \
             another --state and --lake."
        }
        Advice::OtherState => "Give a --state that is empty or does not exist.",
        Advice::TwoLogs => "To read two logs, give --apart, another --state and another --lake.",
        Advice::NoFixedPartitions => {
            "To go on whenever one is added, leave out --fixed-partitions."
        }
        Advice::EarlierCommit => "To read it as it was, give an earlier commit with --as-of.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_options_in_a_program_and_none_in_the_library() {
        let advice = [
            (Advice::BeginAnew, "--reset, or another --state and --lake"),
            (Advice::OtherPlaces, "give another --state and --lake"),
            (Advice::ChangedTopology, "--adopt. To begin anew, give --reset"),
            (Advice::OtherState, "--state"),
            (Advice::TwoLogs, "--apart"),
            (Advice::EarlierCommit, "--as-of"),
            (Advice::NoFixedPartitions, "--fixed-partitions"),
        ];
        for (advice, options) in advice {
            let cause = Error::data("a topic is gone").hint("Restore it.").advise(advice);
            let error = Error::data("can't go on").because(cause);
            let (library, program) = (error.to_string(), described(&error));
            assert!(program.contains("\n  ") && program.contains(options), "{program}");
            assert!(library.contains("\n  ") && !library.contains("--"), "{library}");
            assert_eq!(library.lines().count(), program.lines().count());
        }
    }
}
