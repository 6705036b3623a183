//! Promises of the connections of timely: bytes come through, silence is noticed.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use timely::communication::allocator::zero_copy::stream::Stream;

use super::super::pulse::Pulsed;
use super::super::socket::Socket;
use super::*;

fn short() -> Limits {
    Limits {
        beat: Duration::from_millis(30),
        silence: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// Two ends, of which neither may be silent for two seconds.
fn pair() -> (Pulsed, Pulsed) {
    let (one, two) = UnixStream::pair().unwrap();
    let limits = Limits { silence: Duration::from_secs(2), ..short() };
    let pulsed = |stream| Pulsed::start(1, Socket::Unix(stream), limits).unwrap();
    (pulsed(one), pulsed(two))
}

#[test]
fn bytes_come_through_with_signs_of_life_between_them() {
    let (mut one, mut two) = pair();
    let pieces: Vec<Vec<u8>> = (0..200).map(|n| vec![n as u8; n * n % 3000]).collect();
    let sent = pieces.concat();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = one.try_clone().unwrap();
            for piece in &pieces {
                writer.write_all(piece).unwrap();
            }
            writer.flush().unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        two.read_to_end(&mut received).unwrap();
        assert!(received == sent);
        // The other direction is still open.
        two.write_all(b"end").unwrap();
        two.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = String::new();
    one.read_to_string(&mut received).unwrap();
    assert_eq!(received, "end");
    assert_eq!(one.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_quiet_connection_lives_as_long_as_its_pulse() {
    let (mut one, mut two) = pair();
    let (done, waited) = channel::<()>();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut bytes = [0; 3];
            let read = one.read_exact(&mut bytes);
            drop(done);
            read.map(|()| bytes)
        });
        // Longer than the silence that is allowed.
        let early = waited.recv_timeout(Duration::from_secs(4));
        assert!(matches!(early, Err(std::sync::mpsc::RecvTimeoutError::Timeout)));
        two.write_all(b"now").unwrap();
        assert_eq!(&reader.join().unwrap().unwrap(), b"now");
    });
}

#[test]
fn a_connection_without_a_pulse_is_lost() {
    let (own, mut silent) = UnixStream::pair().unwrap();
    let mut pulsed = Pulsed::start(1, Socket::Unix(own), short()).unwrap();
    // The beginning of a chunk, and no more.
    silent.write_all(&[0, 0, 0, 9, 1, 2]).unwrap();
    let mut bytes = [0; 9];
    assert_eq!(pulsed.read(&mut bytes).unwrap(), 2);
    assert_eq!(pulsed.read(&mut bytes).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_peer_that_reads_nothing_is_lost() {
    let (own, _full) = UnixStream::pair().unwrap();
    let mut pulsed = Pulsed::start(1, Socket::Unix(own), short()).unwrap();
    let error = loop {
        if let Err(error) = pulsed.write_all(&[0; 1 << 16]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_connection_that_is_dropped_ends_for_the_other_process() {
    let (one, mut two) = pair();
    drop(one.try_clone().unwrap());
    drop(one);
    // A reset, if signs of life were not read.
    let read = two.read(&mut [0; 9]).or_else(|error| match error.kind() {
        ErrorKind::ConnectionReset => Ok(0),
        _ => Err(error),
    });
    assert_eq!(read.unwrap(), 0);
}
