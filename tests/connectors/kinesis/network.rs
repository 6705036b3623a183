//! A bad network in front of Kinesis: every record is read once, and every row is written, repeated
//! ones under the same name.

use watershed::connect::Source;
use watershed::connectors::kinesis::{Kinesis, KinesisStream};

use super::{Numbers, World, config, drain};
use crate::support::proxy::{Proxy, Weather};
use crate::support::until;

/// Returns a proxy of the server, and the stream behind it.
fn behind(world: &World) -> (Proxy, KinesisStream) {
    let server = world.config.endpoint_url().unwrap().trim_start_matches("http://");
    let proxy = Proxy::to(server);
    let stream =
        Kinesis::with(&config(&format!("http://{}", proxy.address()))).unwrap().stream(&world.name);
    (proxy, stream)
}

#[test]
fn a_bad_network_loses_and_repeats_no_record() {
    let Some(world) = World::new("bad-network", 1) else { return };
    let (proxy, stream) = behind(&world);
    let mut reader = stream.open(0, None, true).unwrap();
    let mut next = 0;
    let mut more = || {
        world.put(
            &(next..next + 20)
                .map(|n: u64| ("k".into(), n.to_string().into_bytes()))
                .collect::<Vec<_>>(),
        );
        next += 20;
        (next - 20..next).map(|n| (n, n.to_string().into_bytes())).collect::<Vec<_>>()
    };
    for (bytes, weather) in [0, 150, 400, 800].into_iter().zip([
        Weather::Clear,
        Weather::Slow,
        Weather::Closed,
        Weather::Silent,
    ]) {
        let resets = proxy.resets();
        proxy.reset_after(bytes);
        let written = more();
        assert_eq!(drain(&mut *reader, written.len()), written);
        until("a reset", || proxy.resets() > resets);
        proxy.set(weather);
        proxy.cut();
        let (written, accepted) = (more(), proxy.accepted());
        if matches!(weather, Weather::Closed | Weather::Silent) {
            // A silent connection times out first; then there is another one.
            until("another try", || proxy.accepted() > accepted + 1);
            proxy.set(Weather::Clear);
        }
        assert_eq!(drain(&mut *reader, written.len()), written);
    }
    assert_eq!(drain(&mut *stream.open(0, None, false).unwrap(), usize::MAX).len(), 160);
}

#[test]
fn rows_with_a_lost_response_are_repeated_under_their_name() {
    let Some(world) = World::new("lost-answers", 3) else { return };
    let (proxy, stream) = behind(&world);
    let mut numbers = Numbers::default();
    for bytes in [0, 300, 900, 1500, 2100] {
        let resets = proxy.resets();
        proxy.reset_after(bytes);
        numbers.write(40, 1, stream.clone());
        assert_eq!(proxy.resets(), resets + 1, "the responses have fewer than {bytes} bytes");
    }
    assert_eq!(Numbers::of(&world.stream()).0, (0..200).collect::<Vec<_>>());
}
