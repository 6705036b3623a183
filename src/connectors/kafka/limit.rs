//! How much a topic takes at once: brokers measure batches, not records.

use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::client::Context;
use super::settings::Settings;

/// How long the brokers have to tell a limit: without it there is another way.
const PATIENCE: Duration = Duration::from_secs(3);
/// Sizes of batches in bytes, descending. After the last, each record is sent alone.
const SIZES: [usize; 5] = [1_000_000, 256 << 10, 64 << 10, 16 << 10, 4 << 10];
/// The properties of a topic that limit its batches.
const LIMITS: [&str; 2] = ["max.message.bytes", "segment.bytes"];

/// One of the sizes that batches may have; a greater step is a smaller batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step(usize);

impl Step {
    /// The largest batches that a topic takes whose limit is `limit` bytes.
    pub(super) fn within(limit: usize) -> Self {
        Step(SIZES.iter().position(|size| *size <= limit).unwrap_or(SIZES.len()))
    }

    /// Up to how many bytes a batch has. A record that is larger makes a batch of its own.
    pub(super) fn bytes(self) -> usize {
        SIZES.get(self.0).copied().unwrap_or(1)
    }

    /// The next smaller batches; none are smaller than one record.
    pub(super) fn smaller(self) -> Option<Self> {
        (self.0 < SIZES.len()).then_some(Step(self.0 + 1))
    }
}

/// Returns true for a code that says that a batch is larger than a topic takes.
pub(super) fn too_large(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge
    )
}

/// Asks for the most bytes of a batch that `topic` takes; `None` where the brokers don't tell this
/// user.
pub(super) fn ask(settings: &Settings, name: &str, topic: &str) -> Option<usize> {
    if settings.tokens.are_used() {
        // The client for it hands its questions for tokens to nobody, and would wait in vain.
        return None;
    }
    let client = settings.client::<AdminClient<Context>>(name, &[]).ok()?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let described = block_on(client.describe_configs(&[ResourceSpecifier::Topic(topic)], &options));
    match described.map(|topics| topics.into_iter().next()) {
        Ok(Some(Ok(topic))) => {
            let limit = |limit: &str| topic.get(limit)?.value.as_ref()?.parse::<usize>().ok();
            LIMITS.iter().filter_map(|name| limit(name)).min()
        }
        refused => {
            tracing::debug!(log = name, topic, ?refused, "the limit of a batch is not told");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SIZES, Step};

    #[test]
    fn no_batch_is_larger_than_the_limit_or_it_is_one_record() {
        for limit in [0, 1, 4095, 4096, 20_000, 65_535, 1_048_588, usize::MAX] {
            let step = Step::within(limit);
            assert!(step.bytes() <= limit.max(1), "{limit}");
            assert!(step == Step::default() || Step(step.0 - 1).bytes() > limit, "{limit}");
        }
        let steps: Vec<_> =
            std::iter::successors(Some(Step::default()), |step| step.smaller()).collect();
        assert_eq!((steps.len(), steps[SIZES.len()].bytes()), (SIZES.len() + 1, 1));
    }
}
