//! A system that refuses a thread is no bug: the error names the exhausted resource and the way
//! out.

use super::Place;

#[test]
fn a_thread_limit_is_reported_with_a_hint() {
    let mut place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "60"]);
    // No system has room for a stack of one pebibyte, so every thread is refused.
    place.environment.push(("RUST_MIN_STACK", (1_u64 << 50).to_string()));
    for (args, what) in [
        (&["run", "--from", "archive"][..], "a thread for signals"),
        (&["generate", "--to", "other", "--events", "60"], "a thread that syncs the archive"),
        (&["gateway", "--listen", "127.0.0.1:0", "--to", "other"], "a thread"),
    ] {
        let printed = place.fail(args, 69);
        assert!(
            printed.contains(&format!("can't start {what}")) && printed.contains("ulimit -u"),
            "{printed}"
        );
    }
}
