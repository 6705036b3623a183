//! Lines of an archive: the form of a record in an object.

use crate::record::{Batch, CUT_VALUE_BYTES, Span, VALUE_MAX_BYTES};

/// Returns the line of a value. A line feed becomes a space, which means the same between the
/// tokens of JSON.
pub(super) fn line(value: Option<&[u8]>) -> impl Iterator<Item = u8> {
    value.unwrap_or(b"null").iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte })
}

/// Returns the records of a batch as an archive holds them.
pub(super) fn archived_lines(batch: &Batch) -> Batch {
    let mut lines = Batch {
        partition: batch.partition,
        first: batch.first,
        next: batch.next,
        ..Batch::default()
    };
    for record in batch.iter(0) {
        let (start, length) = (lines.bytes.len() as u32, record.value.map_or(0, <[u8]>::len));
        let cut = record.cut.or((length > VALUE_MAX_BYTES).then_some(length as u64));
        let kept = if cut.is_some() { CUT_VALUE_BYTES } else { VALUE_MAX_BYTES };
        lines.bytes.extend(line(record.value).take(kept));
        lines.records.push(Span {
            cut,
            ..Span::of_value(record.order.offset, start..lines.bytes.len() as u32)
        });
    }
    lines
}
