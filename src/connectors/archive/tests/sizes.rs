//! Limits of batches and chunks.

use super::*;

#[test]
fn a_chunk_is_about_a_megabyte() {
    let line = "z".repeat(999);
    let text = format!("{line}\n").repeat(3000);
    let folder = Folder::with(&[(0, &text)]);
    let mut partition = folder.topic.open(3, Some(0), false).unwrap();
    while let Poll::Batch(batch) = partition.poll().unwrap() {
        let (length, capacity) = (batch.bytes.len(), batch.bytes.capacity());
        assert!(length <= CHUNK_BYTES && capacity <= 2 * CHUNK_BYTES, "{length} of {capacity}");
    }
}

#[test]
fn a_batch_has_few_records_however_short_they_are() {
    let text = "\n".repeat(20_000) + "a\n\nb";
    let folder = Folder::with(&[(0, &text), (20_003, "c\n")]);
    let mut partition = folder.topic.open(3, Some(0), false).unwrap();
    let (mut next, mut last) = (0, Vec::new());
    while let Poll::Batch(batch) = partition.poll().unwrap() {
        assert!(batch.records.len() <= 4096, "{} records", batch.records.len());
        assert_eq!(batch.first, next);
        next = batch.next;
        let late = batch.iter(0).filter(|record| record.order.offset >= 20_000);
        last.extend(late.map(|record| record.value.unwrap().to_vec()));
    }
    let lines = ["a", "", "b", "c"];
    assert_eq!((next, last), (20_004, lines.map(|text| text.as_bytes().to_vec()).into()));
    // A reader that starts between batches returns the same records.
    let rest = folder.read(8191);
    assert_eq!((rest.len(), &rest[11_809..]), (11_813, &numbered(20_000, &lines)[..]));
}
