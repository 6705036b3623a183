//! Invariants that are checked in every run: a violation stops it with 70 before anything is
//! written.

use super::follow::copy_share;
use super::{Place, assert_same};

/// The planted violation of each invariant, and words of the error that reports it.
const VIOLATIONS: [(&str, &str); 7] = [
    ("gap_in_bindings", "continues at offset"),
    ("old_generation", "does not continue the last one"),
    ("uncounted_record", "are not all accounted for"),
    ("negative_rows", "more often than added"),
    ("other_plan", "built another dataflow"),
    ("two_owners", "which does not own them"),
    ("backward_frontier", "the frontier of the workers moved backwards"),
];

#[test]
fn a_broken_invariant_stops_with_70_and_writes_nothing() {
    let mut place = Place::new();
    let all = ["generate", "--to", "all", "--events", "400", "--dirt", "0.3"];
    place.run(&[&all[..], &["--records-per-object", "10"]].concat());
    copy_share(&place.path("all"), &place.path("archive"), 1, 2);
    let args = ["run", "--from", "archive", "--lake", "lake", "--workers", "2"];
    place.run(&args);
    let (manifests, before) = (place.manifests().len(), place.lake("lake", None));
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    for (violation, words) in VIOLATIONS {
        place.environment = vec![("WATERSHED_BUG", violation.into())];
        let error = place.fail(&args, 70);
        assert!(error.contains(words), "{violation}: {error}");
        assert_eq!(place.manifests().len(), manifests, "{violation}");
        assert_same(violation, &before, &place.lake("lake", None));
    }
    place.environment.clear();
    place.run(&args);
    assert_same("without a violation", &place.oracle("all", &[]), &place.lake("lake", None));
}
