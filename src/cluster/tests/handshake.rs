//! Promises of the handshake, on connections in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::handshake::{Identity, Refusal, Role, Session, greet, receive};
use super::{Hello, key, random};

const ALL: [Role; 3] = [Role::Bulk, Role::Talk, Role::Mesh];
/// Bytes that fit into a connection without a reader.
const ROOM_BYTES: usize = 1 << 16;
/// The messages of the dialler end here: magic, role and nonce; then length, hello and code.
const FIRST_BYTES: usize = 8 + 1 + 32;

fn identity(process: usize, secret: &str) -> Identity {
    let hello = Hello::new(process, 2, 1).installed("a").to_bytes().unwrap();
    // Nonces that come again would let a recorded handshake pass.
    static SEEDS: AtomicU64 = AtomicU64::new(7);
    let random = random(SEEDS.fetch_add(1, Ordering::Relaxed));
    Identity { key: key(secret), random, hello, session: Session::default() }
}

/// Performs both ends; returns the role and hello that the acceptor saw, and the hello that the
/// dialler saw.
fn meet(
    dialler: &Identity,
    acceptor: &Identity,
    role: Role,
) -> (Result<Vec<u8>, Refusal>, Result<(Role, Vec<u8>), Refusal>) {
    let (mut one, mut two) = duplex(ROOM_BYTES);
    let dial = async move { greet(&mut one, dialler, role).await };
    let accept = async move { receive(&mut two, acceptor, &ALL).await };
    block_on(futures::future::join(dial, accept))
}

/// Records the bytes of a right handshake: those of the dialler, and those of the acceptor.
fn recorded(role: Role) -> (Vec<u8>, Vec<u8>) {
    let (dialler, acceptor) = (identity(1, "right"), identity(0, "right"));
    let ((mut one, mut outer), (mut inner, mut two)) = (duplex(ROOM_BYTES), duplex(ROOM_BYTES));
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let dial = async move { greet(&mut one, &dialler, role).await };
    let accept = async move { receive(&mut two, &acceptor, &ALL).await };
    let tap = async {
        loop {
            let (mut a, mut b) = ([0; 1024], [0; 1024]);
            tokio::select! {
                read = outer.read(&mut a) => {
                    let read = read.unwrap();
                    up.extend(&a[..read]);
                    if read == 0 || inner.write_all(&a[..read]).await.is_err() { break }
                }
                read = inner.read(&mut b) => {
                    let read = read.unwrap();
                    down.extend(&b[..read]);
                    if read == 0 { break }
                    outer.write_all(&b[..read]).await.unwrap();
                }
            }
        }
    };
    let (dialled, accepted, ()) = block_on(async { futures::join!(dial, accept, tap) });
    assert!(dialled.is_ok() && accepted.is_ok());
    (up, down)
}

/// Returns the result of an acceptor that gets these bytes, and then the end of the stream.
fn accepts(bytes: &[u8], acceptor: &Identity) -> Result<(Role, Vec<u8>), Refusal> {
    let (mut stranger, mut own) = duplex(ROOM_BYTES);
    block_on(async move {
        stranger.write_all(bytes).await.unwrap();
        stranger.shutdown().await.unwrap();
        receive(&mut own, acceptor, &ALL).await
    })
}

/// A seeded generator of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// Returns the bytes of a stranger that knows a recorded handshake.
fn stranger(numbers: &mut Numbers, up: &[u8], down: &[u8]) -> Vec<u8> {
    let cut = numbers.below(up.len());
    let mut bytes = up.to_vec();
    match numbers.below(6) {
        // Random bytes.
        0 => {
            let count = numbers.below(300);
            return numbers.bytes(count);
        }
        // The right beginning, and no more.
        1 => bytes.truncate(cut),
        // The right beginning, and random bytes.
        2 => {
            bytes.truncate(cut);
            let count = numbers.below(300);
            bytes.extend(numbers.bytes(count));
        }
        // The whole recorded handshake again.
        3 => {}
        // One bit of it is another.
        4 => bytes[cut] ^= 1 << numbers.below(8),
        // The bytes of the acceptor.
        _ => {
            bytes.truncate(FIRST_BYTES);
            bytes.extend(&down[down.len() - (up.len() - FIRST_BYTES).min(down.len())..]);
        }
    }
    bytes
}

/// Sends `count` strangers to an acceptor, with right peers between them.
fn strangers(count: u64) {
    let recorded = ALL.map(recorded);
    let (dialler, acceptor) = (identity(1, "right"), identity(0, "right"));
    let mut numbers = Numbers(11);
    for number in 0..count {
        let (up, down) = &recorded[numbers.below(3)];
        let bytes = stranger(&mut numbers, up, down);
        let accepted = accepts(&bytes, &acceptor);
        assert!(accepted.is_err(), "stranger {number}: {accepted:?}");
        if number.is_multiple_of(1000) {
            let (dialled, accepted) = meet(&dialler, &acceptor, Role::Talk);
            assert_eq!(accepted.unwrap(), (Role::Talk, dialler.hello.clone()));
            assert_eq!(dialled.unwrap(), acceptor.hello);
        }
    }
}

#[test]
fn no_stranger_passes_the_handshake() {
    strangers(10_000);
}

/// Run it with `cargo test --release --lib a_million_strangers -- --ignored`.
#[test]
#[ignore = "takes a minute"]
fn a_million_strangers_do_not_pass_the_handshake() {
    strangers(1_000_000);
}

#[test]
fn each_difference_of_the_proof_refuses_a_connection() {
    let right = identity(0, "right");
    let later = Session { generation: 7, number: [1; 32] };
    let earlier = Session { generation: 6, ..later };
    let other = Session { number: [2; 32], ..later };
    let of = |session| Identity { session, ..identity(1, "right") };
    let acceptor = Identity { session: later, ..identity(0, "right") };
    for (dialler, acceptor) in [
        (identity(1, "wrong"), &right),
        (of(Session::default()), &acceptor),
        (of(earlier), &acceptor),
        (of(other), &acceptor),
    ] {
        let (dialled, accepted) = meet(&dialler, acceptor, Role::Mesh);
        assert!(matches!(accepted, Err(Refusal::Unproven)), "{accepted:?}");
        assert!(dialled.is_err());
    }
    assert!(meet(&of(later), &acceptor, Role::Mesh).1.is_ok());
}

#[test]
fn a_dialler_refuses_an_acceptor_without_the_secret() {
    // The acceptor sends all bytes at once: recorded, reflected, changed, cut or random ones.
    let dialler = identity(1, "right");
    let (up, down) = recorded(Role::Bulk);
    let reflected = [&up[..8], &up[9..FIRST_BYTES], &up[FIRST_BYTES..]].concat();
    let mut numbers = Numbers(3);
    let mut flipped = down.clone();
    flipped[50] ^= 1;
    for answer in [down.clone(), reflected, flipped, down[..60].to_vec(), numbers.bytes(200)] {
        let (mut stranger, mut own) = duplex(ROOM_BYTES);
        let dialled = block_on(async {
            stranger.write_all(&answer).await.unwrap();
            stranger.shutdown().await.unwrap();
            greet(&mut own, &dialler, Role::Bulk).await
        });
        assert!(dialled.is_err(), "{dialled:?}");
    }
}

#[test]
fn a_dialler_refuses_its_own_bytes() {
    let dialler = identity(1, "right");
    let (mut mirror, mut own) = duplex(ROOM_BYTES);
    let reflect = async move {
        let mut bytes = [0; 1024];
        let first = mirror.read(&mut bytes).await.unwrap();
        // Without the role, which an acceptor does not send.
        mirror.write_all(&[&bytes[..8], &bytes[9..first]].concat()).await.unwrap();
        let second = mirror.read(&mut bytes).await.unwrap();
        mirror.write_all(&bytes[..second]).await.unwrap();
        mirror
    };
    let dial = async move { greet(&mut own, &dialler, Role::Talk).await };
    let (dialled, _mirror): (_, DuplexStream) = block_on(futures::future::join(dial, reflect));
    assert!(matches!(dialled, Err(Refusal::Unproven)), "{dialled:?}");
}

#[test]
fn an_unexpected_role_is_refused_before_anything_is_sent() {
    let (mut one, mut two) = duplex(ROOM_BYTES);
    let (dialler, acceptor) = (identity(1, "right"), identity(0, "right"));
    let (dialled, accepted) = block_on(futures::future::join(
        async move { greet(&mut one, &dialler, Role::Mesh).await },
        async move { receive(&mut two, &acceptor, &[Role::Bulk, Role::Talk]).await },
    ));
    assert!(matches!(accepted, Err(Refusal::Malformed)), "{accepted:?}");
    assert!(dialled.is_err());
}
