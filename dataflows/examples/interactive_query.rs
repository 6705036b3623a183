//! An interactive query: another thread reads a table while the run maintains it.
//!
//! `cargo run --example interactive_query` counts clicks while they arrive. The reading thread sees
//! one closed epoch at a time, never half of an update. It looks whenever the run reports that more
//! records are answered, and ends the run when it has seen all clicks.
//!
//! ```text
//! 1000 clicks: 500 on /home, 300 on /search, 200 on /cart
//! ```

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

use watershed::connect::memory::MemoryLog;
use watershed::prelude::*;

const CLICKS: i64 = 1000;

fn topology(builder: &StreamsBuilder<'_>) {
    let pages = builder.stream("clicks", Consumed::with(Nullable(Raw), Utf8));
    pages
        .group_by(|_, page| (page.clone(), ()))
        .count()
        .materialize(Materialized::named("clicks by page"));
}

fn main() -> Result<()> {
    let clicks = MemoryLog::default();
    let mut streams =
        Streams::new(Topology::new("clicks", topology)).source("clicks", clicks.clone());
    let store: ReadOnlyStore<String, i64> = streams.store("clicks by page")?;

    let (milestones, answered) = mpsc::channel();
    let stop = Stop::default();
    let config = Config {
        follow: true,
        stop: stop.clone(),
        milestone: Some(Box::new(move |milestone| {
            // After the last click nobody reads them any more.
            let _ = milestones.send(milestone);
        })),
        ..Config::default()
    };
    let query = thread::spawn(move || {
        for _milestone in answered {
            let view = store.view();
            let counts: BTreeMap<&str, i64> =
                view.all().map(|(page, n)| (page.as_str(), *n)).collect();
            if counts.values().sum::<i64>() == CLICKS {
                stop.stop();
                let [home, search, cart] = ["/home", "/search", "/cart"].map(|page| counts[page]);
                println!("{CLICKS} clicks: {home} on /home, {search} on /search, {cart} on /cart");
            }
        }
    });
    thread::spawn(move || {
        for click in 0..CLICKS {
            let page =
                ["/home", "/home", "/home", "/home", "/home", "/search", "/search", "/search"]
                    .get(click as usize % 10)
                    .unwrap_or(&"/cart");
            clicks.append(0, None, Some(page.as_bytes()));
        }
    });
    streams.run(config)?;
    query.join().map_err(|_| Error::internal("the query panicked"))
}
