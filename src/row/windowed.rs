//! [`Windowed`] as columns.

use super::{ColumnType, Put, Row};
use crate::time::Windowed;

impl<K: Row> Row for Windowed<K> {
    fn columns() -> Vec<(ColumnType, bool)> {
        let bounds = [(ColumnType::Timestamp, false); 2];
        K::columns().into_iter().chain(bounds).collect()
    }

    fn put(&self, out: &mut dyn Put) {
        self.key.put(out);
        out.timestamp(Some(self.start.0));
        out.timestamp(Some(self.end.0));
    }
}
