//! What is asked for ahead is bounded, and is what was listed.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;
use crate::connectors::archive::Archive;
use crate::error::ErrorKind;
use crate::store::Store;

/// Objects of these sizes, each of bytes that tell its number.
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
    ahead: &mut Ahead,
    objects: &Objects,
    listed: &VecDeque<Listed>,
) -> Result<Option<Box<dyn Read + Send>>> {
    ahead.open(objects, &listed[0], listed.iter().skip(1))
}

#[test]
fn few_bytes_and_few_objects_are_in_flight_at_a_time() {
    for (size, most) in [(1, REQUESTS), (1 << 20, 8), (5 << 20, 4)] {
        let (objects, mut listed) = objects(&vec![size; 40]);
        let mut ahead = Ahead::default();
        while let Some(object) = listed.front().cloned() {
            let mut bytes = Vec::new();
            open(&mut ahead, &objects, &listed).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, vec![object.first as u8; size]);
            assert_eq!(ahead.begun.len(), most.min(listed.len() - 1), "objects of {size} bytes");
            listed.pop_front();
        }
    }
}

#[test]
fn an_object_that_is_gone_or_another_one_is_noticed() {
    let (objects, listed) = objects(&[10, 10, 3 << 20]);
    objects.store.delete(&objects.path(0)).unwrap();
    objects.store.put(&objects.path(1), &[1; 9]).unwrap();
    objects.store.put(&objects.path(2), &[2; (3 << 20) - 1]).unwrap();
    let open =
        |from| open(&mut Ahead::default(), &objects, &listed.iter().skip(from).cloned().collect());
    assert!(open(0).unwrap().is_none());
    assert_eq!(open(1).err().unwrap().kind(), ErrorKind::Data);
    let torn = open(2).unwrap().unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(torn.downcast::<Error>().unwrap().kind(), ErrorKind::Data);
}
