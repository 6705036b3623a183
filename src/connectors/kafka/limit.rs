//! The limit of a topic's batches. Brokers limit the size of batches, not of records.

use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::client::Context;
use super::settings::Settings;

/// The time limit of the request. If it fails, the limit is found by trying.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Sizes of batches in bytes, descending. After the last, each record is sent alone.
const BATCH_SIZES: [usize; 5] = [1_000_000, 256 << 10, 64 << 10, 16 << 10, 4 << 10];
/// The properties of a topic that limit its batches.
const LIMITS: [&str; 2] = ["max.message.bytes", "segment.bytes"];

/// An index of [`BATCH_SIZES`]; a greater one is a smaller batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchSize(usize);

impl BatchSize {
    /// Returns the largest batch size within `limit` bytes.
    pub(super) fn within(limit: usize) -> Self {
        BatchSize(BATCH_SIZES.iter().position(|size| *size <= limit).unwrap_or(BATCH_SIZES.len()))
    }

    /// Returns the most bytes of a batch. A larger record makes a batch of its own.
    pub(super) fn bytes(self) -> usize {
        BATCH_SIZES.get(self.0).copied().unwrap_or(1)
    }

    /// Returns the next smaller batch size; `None` if each record is already sent alone.
    pub(super) fn smaller(self) -> Option<Self> {
        (self.0 < BATCH_SIZES.len()).then_some(BatchSize(self.0 + 1))
    }
}

/// Returns true for a code that means that a batch exceeds the limit of its topic.
pub(super) fn too_large(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge
    )
}

/// Requests the most bytes of a batch of `topic`; `None` if the brokers don't disclose them to this
/// user.
pub(super) fn request(settings: &Settings, name: &str, topic: &str) -> Option<usize> {
    if settings.tokens.are_used() {
        // The admin client never serves its token requests, so it would wait for ever.
        return None;
    }
    let client = settings.client::<AdminClient<Context>>(name, &[]).ok()?;
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let described = block_on(client.describe_configs(&[ResourceSpecifier::Topic(topic)], &options));
    match described.map(|topics| topics.into_iter().next()) {
        Ok(Some(Ok(topic))) => {
            let limit = |limit: &str| topic.get(limit)?.value.as_ref()?.parse::<usize>().ok();
            LIMITS.iter().filter_map(|name| limit(name)).min()
        }
        refused => {
            tracing::debug!(log = name, topic, ?refused, "the limit of batches is not disclosed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_SIZES, BatchSize};

    #[test]
    fn no_batch_is_larger_than_the_limit_or_it_is_one_record() {
        for limit in [0, 1, 4095, 4096, 20_000, 65_535, 1_048_588, usize::MAX] {
            let size = BatchSize::within(limit);
            assert!(size.bytes() <= limit.max(1), "{limit}");
            assert!(
                size == BatchSize::default() || BatchSize(size.0 - 1).bytes() > limit,
                "{limit}"
            );
        }
        let steps: Vec<_> =
            std::iter::successors(Some(BatchSize::default()), |size| size.smaller()).collect();
        assert_eq!((steps.len(), steps[BATCH_SIZES.len()].bytes()), (BATCH_SIZES.len() + 1, 1));
    }
}
