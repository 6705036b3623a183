//! The contract of sinks: numbered commits, each visible exactly once, continued by any later run.

use watershed::ErrorKind;
use watershed::connect::{Mode, SinkContext};
use watershed::row::Value;

use super::restored::{
    a_run_continues_from_saved_rows, saved_rows_that_the_table_lacks_are_refused,
};
use super::world::{Place, Row, World, columns};
use crate::support::Dice;

/// The contract of a sink of tables, against the empty places of `make`.
pub(crate) fn snapshot_contract(make: impl Fn() -> Box<dyn Place>) {
    a_commit_shows_the_put_rows_and_nothing_earlier(&*make(), Mode::Snapshot);
    rows_are_replaced_removed_and_put_again(&*make());
    a_lost_commit_is_made_from_the_manifest(&*make(), Mode::Snapshot);
    a_staged_but_unrecorded_commit_is_never_shown(&*make(), Mode::Snapshot);
    an_older_run_does_not_disturb_a_newer_one(&*make(), Mode::Snapshot);
    a_table_with_other_rows_is_refused(&*make());
    a_run_continues_from_saved_rows(&*make(), Mode::Snapshot);
    saved_rows_that_the_table_lacks_are_refused(&*make());
    for seed in 0..2 {
        commits_and_crashes_in_any_order_show_committed_rows(&*make(), Mode::Snapshot, seed, true);
    }
}

/// The contract of a sink that appends every row.
pub(crate) fn append_contract(make: impl Fn() -> Box<dyn Place>) {
    a_commit_shows_the_put_rows_and_nothing_earlier(&*make(), Mode::Append);
    equal_rows_are_as_many_rows(&*make());
    a_lost_commit_is_made_from_the_manifest(&*make(), Mode::Append);
    a_staged_but_unrecorded_commit_is_never_shown(&*make(), Mode::Append);
    an_older_run_does_not_disturb_a_newer_one(&*make(), Mode::Append);
    a_run_continues_from_saved_rows(&*make(), Mode::Append);
    for seed in 0..2 {
        commits_and_crashes_in_any_order_show_committed_rows(&*make(), Mode::Append, seed, true);
    }
}

/// The contract of a sink that can't recognise a repeated commit, such as a stream of Kinesis. A
/// row may be there again; [`Place::rows`] removes such repetitions by the row's id, as every
/// reader must. All of [`append_contract`] then holds. Such a sink has no owner, so
/// [`owner_contract`] can't hold: no application is refused, and rows of several applications may
/// mix.
#[cfg(feature = "kinesis")]
pub(crate) fn at_least_once_contract(make: impl Fn() -> Box<dyn Place>) {
    append_contract(&make);
    no_application_is_refused(&*make(), Mode::Append);
    a_table_is_refused(&*make());
}

/// The contract of a sink whose rows can't be read back, such as a screen. Each commit is visible
/// once or, if the run crashes before, never. The sink recovers no rows, so it has no owner and
/// refuses nothing. Therefore the promises about lost commits, other rows and owners can't hold;
/// the functions here check their replacements.
pub(crate) fn at_most_once_contract(make: impl Fn() -> Box<dyn Place>) {
    for mode in [Mode::Snapshot, Mode::Append] {
        a_commit_shows_the_put_rows_and_nothing_earlier(&*make(), mode);
        a_staged_but_unrecorded_commit_is_never_shown(&*make(), mode);
        an_older_run_does_not_disturb_a_newer_one(&*make(), mode);
        a_lost_commit_is_never_shown(&*make(), mode);
        no_application_is_refused(&*make(), mode);
        a_run_continues_from_saved_rows(&*make(), mode);
        for seed in 0..2 {
            commits_and_crashes_in_any_order_show_committed_rows(&*make(), mode, seed, false);
        }
    }
    rows_are_replaced_removed_and_put_again(&*make());
    equal_rows_are_as_many_rows(&*make());
}

pub(super) fn row(id: i64, title: &str) -> Row {
    let mut row = vec![Value::Long(id), Value::Text(title.into())];
    row.resize(columns().len(), Value::Null);
    row
}

pub(super) fn rows(from: i64, to: i64, title: &str) -> Vec<Row> {
    (from..to).map(|id| row(id, title)).collect()
}

/// Rows of values at the limits of their types.
fn edges() -> Vec<Row> {
    let full = |id, text: &str, long, double| {
        let place = Value::Doubles(vec![double, -0.0, 1e-300]);
        vec![
            Value::Long(id),
            Value::Text(text.into()),
            Value::Timestamp(long),
            Value::Double(double),
            place,
            Value::Binary(vec![0, 255, 10]),
            Value::Boolean(id == 0),
        ]
    };
    let empty = vec![
        Value::Long(i64::MAX),
        Value::Text(String::new()),
        Value::Timestamp(0),
        Value::Double(0.0),
        Value::Doubles(Vec::new()),
        Value::Binary(Vec::new()),
        Value::Boolean(false),
    ];
    let mut nulls = vec![Value::Null; columns().len()];
    nulls[0] = Value::Long(i64::MIN);
    let mut edges = vec![
        full(-1, "Grüße 🎄\u{a0}\"\\\n\r\t\u{0}", -1, f64::MAX),
        full(0, "null", 1_598_586_767_123_456, f64::MIN_POSITIVE),
        empty,
        nulls,
    ];
    edges.sort();
    edges
}

fn a_commit_shows_the_put_rows_and_nothing_earlier(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    let mut run = world.start(2).unwrap();
    world.check();
    edges().iter().for_each(|row| run.put(row));
    world.decide(&mut run, edges());
    assert_eq!(place.rows(), Vec::<Row>::new(), "staged is not shown");
    for _ in 0..3 {
        world.show(&mut run);
        world.check();
    }
    let more = rows(10, 15, "more");
    more.iter().for_each(|row| run.put(row));
    assert!(run.stage(2).is_some(), "what is put is staged");
}

fn rows_are_replaced_removed_and_put_again(place: &dyn Place) {
    let mut world = World::new(place, Mode::Snapshot);
    let mut run = world.start(3).unwrap();
    rows(0, 10, "old").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(0, 10, "old"));
    // In one commit: one row is replaced, one removed, one removed and put again, one put and
    // removed, one replaced twice.
    run.put(&row(1, "new"));
    run.remove(2);
    run.remove(3);
    run.put(&row(3, "again"));
    run.put(&row(70, "passing"));
    run.remove(70);
    run.put(&row(4, "first"));
    run.put(&row(4, "second"));
    let mut now = rows(0, 10, "old");
    now[1] = row(1, "new");
    now[3] = row(3, "again");
    now[4] = row(4, "second");
    now.remove(2);
    world.commit(&mut run, now.clone());
    run.put(&row(2, "back"));
    now.insert(2, row(2, "back"));
    world.commit(&mut run, now.clone());
    let mut run = world.start(2).unwrap();
    world.check();
    (0..10).for_each(|id| run.remove(id));
    world.commit(&mut run, Vec::new());
    let mut run = world.start(1).unwrap();
    rows(5, 8, "again").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(5, 8, "again"));
}

fn equal_rows_are_as_many_rows(place: &dyn Place) {
    let mut world = World::new(place, Mode::Append);
    let mut all = Vec::new();
    for workers in [2, 1, 3] {
        let mut run = world.start(workers).unwrap();
        world.check();
        for _ in 0..2 {
            let more = [rows(0, 4, "same"), rows(0, 4, "same")].concat();
            more.iter().for_each(|row| run.put(row));
            all.extend(more);
            world.commit(&mut run, all.clone());
        }
    }
}

fn a_lost_commit_is_made_from_the_manifest(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    let mut all = Vec::new();
    for (step, workers) in [1, 3, 2, 4].into_iter().enumerate() {
        let mut run = world.start(workers).unwrap();
        world.check();
        let more = rows(step as i64 * 10, step as i64 * 10 + 7, "lost");
        more.iter().for_each(|row| run.put(row));
        if mode == Mode::Snapshot && step > 0 {
            run.remove(step as i64 * 10 - 5);
            all.retain(|row: &Row| row[0] != Value::Long(step as i64 * 10 - 5));
        }
        all.extend(more);
        world.decide(&mut run, all.clone());
        if step % 2 == 1 {
            // The commit is visible, but the next run starts as if it were not.
            world.show(&mut run);
        }
    }
    let mut run = world.start(2).unwrap();
    world.check();
    world.show(&mut run);
    world.check();
}

fn a_staged_but_unrecorded_commit_is_never_shown(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    let mut run = world.start(2).unwrap();
    rows(0, 5, "kept").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(0, 5, "kept"));
    for id in [5, 6] {
        run.put(&row(id, "abandoned"));
        assert!(run.stage(world.committed + 1).is_some());
        run = world.start(1).unwrap();
        world.check();
    }
    run.put(&row(9, "other"));
    world.commit(&mut run, [rows(0, 5, "kept"), rows(9, 10, "other")].concat());
    run.committer.maintain_now().unwrap();
    world.start(2).unwrap();
    world.check();
}

fn an_older_run_does_not_disturb_a_newer_one(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    let mut older = world.start(2).unwrap();
    let mut newer = world.start(2).unwrap();
    newer.put(&row(1, "newer"));
    world.decide(&mut newer, rows(1, 2, "newer"));
    older.put(&row(2, "older"));
    assert!(older.stage(1).is_some(), "it does not know yet, and its manifest is refused");
    world.show(&mut newer);
    world.check();
    let mut next = world.start(1).unwrap();
    world.check();
    next.put(&row(3, "next"));
    world.commit(&mut next, [rows(1, 2, "newer"), rows(3, 4, "next")].concat());
}

fn a_table_with_other_rows_is_refused(place: &dyn Place) {
    let mut world = World::new(place, Mode::Snapshot);
    let mut run = world.start(2).unwrap();
    rows(0, 5, "kept").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(0, 5, "kept"));
    for wrong in [rows(0, 4, "kept"), rows(0, 6, "kept"), rows(1, 6, "kept"), Vec::new()] {
        let right = std::mem::replace(&mut world.rows, wrong);
        let error = world.start(2).err().expect("other rows are refused");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        world.rows = right;
        world.check();
    }
    world.start(3).unwrap();
}

fn a_lost_commit_is_never_shown(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    let mut run = world.start(2).unwrap();
    rows(0, 3, "lost").iter().for_each(|row| run.put(row));
    world.decide(&mut run, rows(0, 3, "lost"));
    let mut run = world.start(1).unwrap();
    world.show(&mut run);
    assert_eq!(place.rows(), Vec::<Row>::new());
    run.put(&row(5, "next"));
    world.decide(&mut run, [rows(0, 3, "lost"), rows(5, 6, "next")].concat());
    world.show(&mut run);
    assert_eq!(place.rows(), rows(5, 6, "next"), "what comes after is not held up");
}

fn no_application_is_refused(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    let mut run = world.start(1).unwrap();
    run.put(&row(1, "mine"));
    world.commit(&mut run, rows(1, 2, "mine"));
    for (app, committed) in [("other", 0), ("other", 1), ("app", 0)] {
        let context = SinkContext { committed, generation: 9, ..world.context(app, 1) };
        place.sink().check(&world.schema(), &context).unwrap();
        place.sink().open(&world.schema(), &context).unwrap();
    }
    world.rows = rows(7, 9, "other");
    world.start(2).unwrap();
    assert_eq!(place.rows(), rows(1, 2, "mine"), "and nothing is printed for it");
}

/// A sink that appends refuses a table, before any sink of the run is opened.
pub(crate) fn a_table_is_refused(place: &dyn Place) {
    let world = World::new(place, Mode::Snapshot);
    let context = world.context("app", 1);
    let looked =
        place.sink().check(&world.schema(), &context).expect_err("a table is refused at a look");
    let error = place.sink().open(&world.schema(), &context).err().expect("a table is refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(looked.to_string(), error.to_string());
}

/// A place belongs to the application that created it, and to the state with its commits.
pub(crate) fn owner_contract(place: &dyn Place, table: bool) {
    let mut world = World::new(place, if table { Mode::Snapshot } else { Mode::Append });
    let mut run = world.start(1).unwrap();
    run.put(&row(1, "mine"));
    world.commit(&mut run, rows(1, 2, "mine"));
    for (app, committed) in [("other", 0), ("other", 1), ("app", 0)] {
        let context = SinkContext { committed, generation: 9, ..world.context(app, 1) };
        let looked = place
            .sink()
            .check(&world.schema(), &context)
            .expect_err("another's place is refused at a look");
        let error =
            place.sink().open(&world.schema(), &context).err().expect("another's place is refused");
        assert_eq!(error.kind(), ErrorKind::Data, "{app} at {committed}: {error}");
        assert_eq!(looked.to_string(), error.to_string());
        world.check();
    }
    world.start(2).unwrap();
}

/// With `lost`, some commits are decided and become visible only in the next run. A run recovers
/// all rows, or continues from saved rows.
fn commits_and_crashes_in_any_order_show_committed_rows(
    place: &dyn Place,
    mode: Mode,
    seed: u64,
    lost: bool,
) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(place, mode);
    let mut run = world.start(1).unwrap();
    for step in 0..16 {
        let mut now = world.rows.clone();
        for _ in 0..dice.below(12) {
            let id = dice.below(40) as i64;
            let at = now
                .iter()
                .position(|row| row[0] == Value::Long(id))
                .filter(|_| mode == Mode::Snapshot);
            let before = at.map(|at| now.remove(at));
            if before.is_some() && dice.below(3) == 0 {
                run.remove(id);
            } else {
                now.push(row(id, &format!("{step} {}", dice.below(3))));
                run.put(&now[now.len() - 1]);
            }
        }
        let fate = dice.below(8);
        if fate == 0 {
            // The run crashes before a decision, with or without staging.
            if dice.below(2) == 0 {
                run.stage(world.committed + 1);
            }
        } else {
            world.decide(&mut run, now);
            if dice.below(4) == 0 {
                world.save();
            }
        }
        if fate > 1 || (fate == 1 && !lost) {
            (0..=dice.below(2)).for_each(|_| world.show(&mut run));
            world.check();
        }
        if fate < 3 {
            let workers = 1 + dice.below(4) as usize;
            run = match dice.below(2) {
                0 => world.start(workers).unwrap(),
                _ => world.resume(workers).unwrap(),
            };
            world.check();
        } else if fate == 7 {
            run.committer.maintain_now().unwrap();
            world.check();
        }
    }
}
