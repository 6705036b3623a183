//! State arrays that are indexed by the number of a key.

/// A value for each number, in chunks: it grows without copying. A chunk is empty until one of its
/// values is set.
pub(crate) struct Column<T>(Vec<Box<[T]>>);

const CHUNK: usize = 4096;

impl<T: Default> Column<T> {
    pub(crate) fn new() -> Self {
        Column(Vec::new())
    }

    /// Returns the value at `number`, which is the default until it is set.
    pub(crate) fn at(&mut self, number: u32) -> &mut T {
        let (chunk, place) = (number as usize / CHUNK, number as usize % CHUNK);
        if self.0.len() <= chunk {
            self.0.resize_with(chunk + 1, Box::default);
        }
        let values = &mut self.0[chunk];
        if values.is_empty() {
            *values = std::iter::repeat_with(T::default).take(CHUNK).collect();
        }
        &mut values[place]
    }

    /// Makes all values the default again, and frees their memory.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the value at `number` if one near it was ever set.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, place) = (number as usize / CHUNK, number as usize % CHUNK);
        self.0.get(chunk)?.get(place)
    }
}
