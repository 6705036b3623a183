//! The contract of a sink that can be emptied, so that a state with it can be reset.

use watershed::ErrorKind;
use watershed::connect::Mode;

use super::sink::rows;
use super::world::{Place, World};

/// A reset place is empty, belongs to the new application, and takes no row of an earlier run.
pub(crate) fn clear_contract(make: impl Fn() -> Box<dyn Place>, mode: Mode) {
    for decided in [false, true] {
        a_reset_place_takes_no_row_of_an_earlier_run(&*make(), mode, decided);
    }
    a_fresh_place_is_reset_too(&*make(), mode);
}

/// The earlier run has `decided` a commit, or only staged it.
fn a_reset_place_takes_no_row_of_an_earlier_run(place: &dyn Place, mode: Mode, decided: bool) {
    let mut world = World::new(place, mode);
    let mut older = world.start(2).unwrap();
    rows(0, 9, "old").iter().for_each(|row| older.put(row));
    world.commit(&mut older, rows(0, 9, "old"));
    rows(9, 12, "late").iter().for_each(|row| older.put(row));
    let staged = match decided {
        true => {
            world.decide(&mut older, rows(0, 12, "any"));
            world.recorded()
        }
        false => older.stage(2).map(|content| (2, content)),
    };
    let (n, content) = staged.unwrap();
    world.reset("next").unwrap();
    world.check();
    world.clear("app").unwrap();
    let mut late = || match older.committer.commit(n, &content) {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Superseded, "{error}"),
    };
    late();
    world.check();
    let mut run = world.start(3).unwrap();
    world.check();
    rows(5, 8, "new").iter().for_each(|row| run.put(row));
    world.commit(&mut run, rows(5, 8, "new"));
    late();
    world.check();
    let mut run = world.start(1).unwrap();
    run.put(&rows(20, 21, "more")[0]);
    world.commit(&mut run, [rows(5, 8, "new"), rows(20, 21, "more")].concat());
    // The next reset replaces the new application.
    world.reset("last").unwrap();
    world.check();
    world.start(2).unwrap();
    world.check();
}

fn a_fresh_place_is_reset_too(place: &dyn Place, mode: Mode) {
    let mut world = World::new(place, mode);
    for app in ["next", "last"] {
        world.reset(app).unwrap();
        let mut run = world.start(2).unwrap();
        run.put(&rows(3, 4, app)[0]);
        world.commit(&mut run, rows(3, 4, app));
    }
}
