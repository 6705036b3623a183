//! The contract of object stores, for a folder and a bucket.

use std::sync::Barrier;
use std::thread;

use watershed::store::{Create, Store};

use super::Spot;
use crate::support::bucket::bucket;

fn contract(spot: impl Fn() -> Spot) {
    bytes_come_back_and_names_are_listed(&spot().store);
    one_of_many_concurrent_creations_succeeds(&spot().store);
    a_listing_has_all_of_many(&spot().store);
}

fn bytes_come_back_and_names_are_listed(store: &Store) {
    assert_eq!(store.get("a/b").unwrap(), None);
    assert!(store.list("a").unwrap().is_empty() && store.folders("").unwrap().is_empty());
    store.delete("a/b").unwrap();
    let large = vec![7; 6 << 20];
    for (path, bytes) in [
        ("a/b", &b"one"[..]),
        ("a/b", b"two"),
        ("a/empty", b""),
        ("a/deep/er", b"x"),
        ("z+=0", &large),
    ] {
        store.put(path, bytes).unwrap();
        assert_eq!(store.get(path).unwrap().unwrap(), bytes, "{path}");
    }
    let named = |name: &str, size| (name.to_string(), size);
    assert_eq!(store.list("a").unwrap(), [named("b", 3), named("empty", 0)]);
    assert_eq!(store.list("").unwrap(), [named("z+=0", 6 << 20)]);
    assert_eq!(
        (store.folders("").unwrap(), store.folders("a").unwrap()),
        (vec!["a".to_string()], vec!["deep".to_string()])
    );
    assert_eq!(store.below("a").below("deep").get("er").unwrap().unwrap(), b"x");
    store.delete("a/b").unwrap();
    store.delete("a/b").unwrap();
    assert_eq!(
        (store.get("a/b").unwrap(), store.list("a").unwrap()),
        (None, vec![named("empty", 0)])
    );
    assert!(matches!(store.create("a/b", b"three").unwrap(), Create::Created));
    assert!(matches!(store.create("a/b", b"four").unwrap(), Create::Taken));
    assert!(matches!(store.create("a/empty", b"five").unwrap(), Create::Taken));
    assert_eq!(store.get("a/b").unwrap().unwrap(), b"three");
}

fn one_of_many_concurrent_creations_succeeds(store: &Store) {
    for round in 0..10 {
        let (path, start) = (format!("race/{round}"), Barrier::new(8));
        let winners: Vec<u8> = thread::scope(|scope| {
            let create = |me: u8| {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    // `Taken` may mean that another creation is in progress, which may itself be
                    // refused. Then nobody has created the object, and this thread tries again.
                    loop {
                        match store.create(path, &[me]).unwrap() {
                            Create::Created => return Some(me),
                            Create::Taken if store.get(path).unwrap().is_some() => return None,
                            Create::Taken => {}
                            Create::Unknown(error) => panic!("{error}"),
                        }
                    }
                })
            };
            let threads: Vec<_> = (0..8).map(create).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(store.get(&path).unwrap().unwrap(), winners, "one, and what it wrote");
    }
}

fn a_listing_has_all_of_many(store: &Store) {
    let name = |n: usize| format!("{n:04}");
    thread::scope(|scope| {
        for part in 0..8 {
            scope.spawn(move || {
                (part..1100)
                    .step_by(8)
                    .for_each(|n| store.put(&format!("many/{}", name(n)), b"").unwrap())
            });
        }
    });
    let names: Vec<String> =
        store.list("many").unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, (0..1100).map(name).collect::<Vec<_>>());
}

#[test]
fn a_folder_and_an_object_store_keep_the_contract_of_stores() {
    contract(Spot::folder);
    contract(Spot::memory);
}

#[test]
fn s3_keeps_the_contract_of_stores() {
    let Some(url) = bucket(s3_keeps_the_contract_of_stores) else { return };
    contract(|| Spot::within(&url));
}
