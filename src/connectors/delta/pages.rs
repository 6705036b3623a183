//! The encoded pages of a Parquet file, until the file is complete.

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::{ParquetError, Result};

/// Makes a store for the pages of each column.
#[derive(Debug)]
pub(super) struct ExactPages;

impl PageStoreFactory for ExactPages {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        Ok(Box::new(Pages::default()))
    }
}

/// The pages of a column, each in memory of exactly its size.
///
/// An encoder compresses a page into a buffer for the longest result, and shrinks it. The memory
/// behind a page is then too small for the next buffer. So each page is copied, and the encoder
/// gets the same buffer again, which is in the cache.
#[derive(Default)]
struct Pages {
    pages: Vec<Bytes>,
    bytes: usize,
}

impl PageStore for Pages {
    fn put(&mut self, page: Bytes) -> Result<PageKey> {
        self.bytes += page.len();
        self.pages.push(Bytes::copy_from_slice(&page));
        Ok(PageKey::new(self.pages.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes> {
        let page = usize::try_from(key.get()).ok().and_then(|at| self.pages.get_mut(at));
        let page = page.ok_or_else(|| ParquetError::General("there is no such page".into()))?;
        self.bytes -= page.len();
        Ok(std::mem::take(page))
    }

    fn memory_size(&self) -> usize {
        self.bytes
    }
}
