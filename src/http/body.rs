//! Reads the body of a request, within its limits of bytes and time.

use std::pin::pin;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use super::deadline::{Deadline, Pace};
use super::lobby::Connection;
use super::shares::{Permits, Shares};
use super::{Limits, Refusal};

/// Reads a body to its end, and returns it with the permits that it takes from `bodies`.
pub(super) async fn read(
    limits: &Limits,
    bodies: &Shares,
    connection: &Connection,
    body: Body,
) -> Result<(Bytes, Permits), Refusal> {
    if body.size_hint().lower() > limits.body_max_bytes as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    let mut permits = bodies.empty(connection.address()).ok_or(Refusal::Stopping)?;
    let read = read_frames(limits, bodies, body, &mut permits);
    let read = tokio::time::timeout(limits.body_timeout, read).await;
    Ok((read.map_err(|_| Refusal::BodyTimeout)??, permits))
}

/// Reads all frames. Permits are taken as bytes arrive: a mere Content-Length takes none.
async fn read_frames(
    limits: &Limits,
    bodies: &Shares,
    body: Body,
    permits: &mut Permits,
) -> Result<Bytes, Refusal> {
    let mut frames = pin!(body.into_data_stream());
    let (mut deadline, mut arrived) = (None::<Deadline>, 0);
    // Most bodies are one frame, which is not copied. Many small frames are copied together,
    // because each would keep more memory than its bytes.
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    loop {
        let frame = match frames.next().now_or_never() {
            Some(frame) => frame,
            None => {
                let deadline = deadline.get_or_insert_with(|| Pace::of(limits).start());
                deadline.extend(std::mem::take(&mut arrived));
                tokio::select! {
                    frame = frames.next() => frame,
                    () = deadline.passed() => return Err(Refusal::BodyTimeout),
                }
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Refusal::BodyAborted)?;
        if first.len() + all.len() + frame.len() > limits.body_max_bytes {
            return Err(Refusal::BodyTooLarge);
        }
        if !bodies.add(permits, frame.len()) {
            return Err(Refusal::NoBodyRoom);
        }
        arrived += frame.len();
        if first.is_empty() && all.is_empty() {
            first = frame;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&frame);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}
