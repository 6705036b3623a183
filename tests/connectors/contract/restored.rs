//! Promises of sinks in a run that continues from saved rows: of a table by their keys, of a stream
//! by their number.

use watershed::ErrorKind;
use watershed::connect::Mode;
use watershed::row::Value;

use super::sink::{row, rows};
use super::world::{Place, World};

/// The sink shows more commits than the saved rows have, and the run receives the changes between.
pub(super) fn a_run_continues_from_saved_rows(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    let mut run = world.start(3).unwrap();
    rows(0, 20, "saved").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(0, 20, "saved"));
    world.save();
    let mut all = world.rows.clone();
    for (step, workers) in [2, 1, 4, 2, 3].into_iter().enumerate() {
        run = world.resume(workers).unwrap();
        world.check();
        for part in 0..2 {
            let first = 20 + step as i64 * 10 + part * 5;
            let mut more = rows(first, first + 3, "later");
            if mode == Mode::Snapshot {
                // Saved and later rows are replaced, removed, put again, or pass.
                let [replaced, removed, again] = [0, 5, 10].map(|id| id + step as i64);
                let late = first - 5;
                if part == 0 {
                    run.remove(removed);
                    run.remove(again);
                }
                more.extend([row(replaced, "replaced"), row(again, "again")]);
                run.put(&row(90, "passing"));
                run.remove(90);
                run.remove(late);
                let gone = [replaced, again, removed, late].map(Value::Long);
                all.retain(|row| !gone.contains(&row[0]));
            }
            more.iter().for_each(|row| run.put(row));
            all.extend(more);
            world.commit(&mut run, all.clone());
        }
        if step == 2 {
            world.save();
        }
    }
    world.start(2).unwrap();
    world.check();
}

/// A saved row may be missing only if a later change removes it.
pub(super) fn saved_rows_that_the_table_lacks_are_refused(place: &dyn Place) {
    let mut world = World::new(place, Mode::Snapshot);
    let mut run = world.start(2).unwrap();
    rows(0, 6, "saved").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(0, 6, "saved"));
    world.save();
    run.remove(5);
    world.commit(&mut run, rows(0, 5, "saved"));
    for wrong in [rows(0, 7, "saved"), rows(1, 7, "saved"), rows(1, 6, "saved")] {
        let right = std::mem::replace(&mut world.saved.rows, wrong);
        let error = world.resume(2).err().expect("other rows are refused");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        world.saved.rows = right;
        world.check();
    }
    world.resume(3).unwrap();
}

/// A sink that counts its rows compares their number with that of the run.
pub(crate) fn a_wrong_number_of_skipped_rows_is_refused(place: &dyn Place) {
    let mut world = World::new(place, Mode::Append);
    let mut run = world.start(2).unwrap();
    rows(0, 6, "saved").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(0, 6, "saved"));
    world.save();
    for wrong in [rows(0, 5, "saved"), rows(0, 7, "saved")] {
        let right = std::mem::replace(&mut world.saved.rows, wrong);
        let error = world.resume(2).err().expect("another number of rows is refused");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        world.saved.rows = right;
    }
    world.resume(3).unwrap();
    world.check();
}
