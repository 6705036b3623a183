//! Promises of prefetching: it is bounded, and it detects changed objects.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;
use crate::connectors::archive::Archive;
use crate::error::ErrorKind;
use crate::store::Store;

/// Returns objects of these sizes, filled with bytes that are their numbers.
fn objects(sizes: &[usize]) -> (Objects, VecDeque<Listed>) {
    let store = Store::objects(Arc::new(InMemory::new()), "p").unwrap();
    let objects = Archive::on(store).topic("t").objects(0).unwrap();
    for (number, size) in sizes.iter().enumerate() {
        objects.store.put(&objects.path(number as u64), &vec![number as u8; *size]).unwrap();
    }
    let listed = objects.list().unwrap();
    (objects, listed.into())
}

fn open(
    prefetch: &mut Prefetch,
    objects: &Objects,
    listed: &VecDeque<Listed>,
) -> Result<Option<Box<dyn Read + Send>>> {
    prefetch.open(objects, &listed[0], listed.iter().skip(1))
}

#[test]
fn prefetched_bytes_and_objects_are_bounded() {
    for (size, most) in [(1, PREFETCH_REQUESTS), (1 << 20, 8), (5 << 20, 4)] {
        let (objects, mut listed) = objects(&vec![size; 40]);
        let mut prefetch = Prefetch::default();
        while let Some(object) = listed.front().cloned() {
            let mut bytes = Vec::new();
            open(&mut prefetch, &objects, &listed)
                .unwrap()
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            assert_eq!(bytes, vec![object.first as u8; size]);
            assert_eq!(prefetch.begun.len(), most.min(listed.len() - 1), "objects of {size} bytes");
            listed.pop_front();
        }
    }
}

#[test]
fn a_deleted_or_changed_object_is_noticed() {
    let (objects, listed) = objects(&[10, 10, 3 << 20]);
    objects.store.delete(&objects.path(0)).unwrap();
    objects.store.put(&objects.path(1), &[1; 9]).unwrap();
    objects.store.put(&objects.path(2), &[2; (3 << 20) - 1]).unwrap();
    let open = |from| {
        open(&mut Prefetch::default(), &objects, &listed.iter().skip(from).cloned().collect())
    };
    assert!(open(0).unwrap().is_none());
    assert_eq!(open(1).err().unwrap().kind(), ErrorKind::Data);
    let torn = open(2).unwrap().unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(torn.downcast::<Error>().unwrap().kind(), ErrorKind::Data);
}
