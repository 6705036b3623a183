//! Clients that hold shared resources are cut off or limited to their share. Health checks are
//! always answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use watershed::gateway::Config;

use super::{JSON, TestGateway};
use crate::support::http::Client;
use crate::support::until;

const ONE: &str = r#"{"records":[{"value":1}]}"#;
const CHUNKED: &str = "POST /topics/u.pin HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n\
    Transfer-Encoding: chunked\r\n\r\n";
/// The address of attackers, and of another client.
const ATTACKER: [u8; 4] = [127, 0, 0, 2];
const OTHER: [u8; 4] = [127, 0, 0, 3];

/// Longer than any test runs.
const LONG_TIMEOUT: Duration = Duration::from_secs(3600);

fn post(gateway: &TestGateway, own: [u8; 4]) -> u16 {
    Client::from(own, gateway.address).ask("POST", "/topics/u.pin", &[JSON], ONE).unwrap().status
}

/// Sends the requests of a monitoring system.
fn assert_watched(gateway: &TestGateway, own: [u8; 4]) {
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(
            Client::from(own, gateway.address).ask("GET", path, &[], "").unwrap().status,
            200,
            "{path}"
        );
    }
}

/// A client in service: the gateway waits for its body.
fn holder(gateway: &TestGateway, own: [u8; 4], head: &str) -> Client {
    let mut client = Client::from(own, gateway.address);
    client.send(head).unwrap();
    assert_eq!(client.reply().unwrap().status, 100);
    client
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let gateway = TestGateway::open(|config| {
        (
            config.server.limits.connections,
            config.server.limits.waiting_connections,
            config.server.limits.address_share_percent,
        ) = (8, 64, 50);
        config.server.limits.stall_timeout = Duration::from_millis(300);
    });
    let wide = ("Content-Type", "application/json");
    assert_eq!(gateway.ask("POST", "/streams/wide", &[wide], r#"{"ShardCount":100}"#).status, 200);
    let requests = "GET /streams/wide HTTP/1.1\r\nHost: here\r\n\r\n".repeat(1000);
    let cut = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = Client::from(ATTACKER, gateway.address);
                while client.send(&requests).is_ok() {}
                cut.fetch_add(1, Ordering::SeqCst);
            });
        }
        until("all of them to be cut", || {
            assert_eq!(post(&gateway, OTHER), 200);
            assert_watched(&gateway, OTHER);
            assert_watched(&gateway, ATTACKER);
            cut.load(Ordering::SeqCst) == 12
        });
    });
    assert_eq!(post(&gateway, ATTACKER), 200);
    gateway.close();
}

#[test]
fn bodies_that_are_only_announced_take_no_room() {
    let gateway = TestGateway::open(|config| {
        (config.server.limits.body_max_bytes, config.server.limits.bodies_max_bytes) = (2000, 4000);
        config.server.limits.stall_timeout = LONG_TIMEOUT;
        config.server.limits.body_timeout = LONG_TIMEOUT;
    });
    let long = "POST /topics/u.pin HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n\
        Content-Length: 2000\r\n\r\n";
    let holders: Vec<_> =
        (0..32).map(|n| holder(&gateway, ATTACKER, [CHUNKED, long][n % 2])).collect();
    assert_eq!([post(&gateway, ATTACKER), post(&gateway, OTHER)], [200; 2]);
    drop(holders);
    gateway.close();
}

#[test]
fn a_slow_body_is_cut_off() {
    let gateway = TestGateway::open(|config| {
        (config.server.limits.stall_timeout, config.server.limits.body_timeout) =
            (Duration::from_millis(300), LONG_TIMEOUT);
    });
    let mut silent = holder(&gateway, ATTACKER, CHUNKED);
    let mut drips = holder(&gateway, ATTACKER, CHUNKED);
    drips.wait(Duration::from_millis(20));
    let mut replied = None;
    until("an answer", || {
        // The connection may be closed already, with the response sent.
        let _ = drips.send("1\r\nx\r\n");
        replied = drips.reply().ok();
        replied.is_some()
    });
    for reply in [replied.unwrap(), silent.reply().unwrap()] {
        assert_eq!((reply.status, reply.headers["connection"].as_str()), (408, "close"));
    }
    assert!(silent.is_closed());
    gateway.close();
}

/// Two connections in service from one address, whose bodies never arrive.
fn held(change: impl FnOnce(&mut Config)) -> (TestGateway, [Client; 2]) {
    let gateway = TestGateway::open(|config| {
        config.server.limits.connections = 4;
        (
            config.server.limits.stall_timeout,
            config.server.limits.body_timeout,
            config.server.limits.head_timeout,
        ) = (LONG_TIMEOUT, LONG_TIMEOUT, Duration::from_secs(3));
        change(config);
    });
    let holders = [(); 2].map(|()| holder(&gateway, ATTACKER, CHUNKED));
    (gateway, holders)
}

#[test]
fn an_address_has_its_share_of_the_connections() {
    let (gateway, holders) = held(|config| config.server.limits.address_share_percent = 50);
    let mut third = Client::from(ATTACKER, gateway.address);
    let reply = third.ask("POST", "/topics/u.pin", &[JSON], ONE).unwrap();
    assert_eq!(
        (reply.status, &reply.json()["error_code"], reply.headers["retry-after"].as_str()),
        (503, &json!(50302), "1")
    );
    assert_eq!(post(&gateway, OTHER), 200);
    // A refused connection is served once there is room.
    drop(holders);
    until("room", || match third.ask("POST", "/topics/u.pin", &[JSON], ONE) {
        Ok(reply) => reply.status == 200,
        Err(_) => {
            third = Client::from(ATTACKER, gateway.address);
            false
        }
    });
    gateway.close();
}

#[test]
fn health_checks_work_while_all_connections_are_held() {
    let (gateway, holders) = held(|config| {
        (config.server.limits.address_share_percent, config.server.limits.connections) = (100, 2)
    });
    assert_eq!([post(&gateway, ATTACKER), post(&gateway, OTHER)], [503; 2]);
    assert_watched(&gateway, OTHER);
    assert_watched(&gateway, ATTACKER);
    drop(holders);
    until("room", || post(&gateway, OTHER) == 200);
    gateway.close();
}

#[test]
fn silent_connections_give_way_to_others() {
    let gateway = TestGateway::open(|config| {
        (
            config.server.limits.connections,
            config.server.limits.waiting_connections,
            config.server.limits.head_timeout,
        ) = (2, 4, LONG_TIMEOUT)
    });
    let mut silent: Vec<_> = (0..12).map(|_| Client::from(ATTACKER, gateway.address)).collect();
    let mut other = Client::from(OTHER, gateway.address);
    for path in ["/health", "/metrics", "/topics"] {
        assert_eq!(other.ask("GET", path, &[], "").unwrap().status, 200, "{path}");
    }
    assert!(silent.drain(..8).all(|mut client| client.is_closed()));
    assert_eq!(
        silent[3].ask("POST", "/topics/u.pin", &[JSON], ONE).unwrap().status,
        200,
        "the last may still ask"
    );
    gateway.close();
}

#[test]
fn an_address_has_its_share_of_the_bytes_on_their_way() {
    let (gateway, _others) = held(|config| {
        (
            config.server.limits.connections,
            config.server.limits.address_share_percent,
            config.server.limits.bodies_max_bytes,
        ) = (40, 75, 80)
    });
    let mut holds = None;
    until("no room", || {
        let mut client = holder(&gateway, ATTACKER, CHUNKED);
        client.send(&format!("3c\r\n{}\r\n", "x".repeat(60))).unwrap();
        holds = Some(client);
        // This post may arrive before the chunk; then the loop tries again.
        post(&gateway, ATTACKER) == 503
    });
    // 60 of 80 bytes are taken. The remaining 20 are too few for this body, but enough for a
    // smaller one from another address.
    let mut small = Client::from(OTHER, gateway.address);
    let reply = small.ask("POST", "/topics/u.pin", &[JSON], r#"{"records":[]}"#).unwrap();
    assert_eq!(reply.status, 422, "it was read: {reply:?}");
    gateway.close();
}

#[test]
fn a_connection_ends_behind_an_answer_when_it_is_old() {
    let gateway =
        TestGateway::open(|config| config.server.limits.connection_lifetime = Duration::ZERO);
    let mut client = gateway.client();
    let reply = client.ask("POST", "/topics/u.pin", &[JSON], ONE).unwrap();
    assert_eq!((reply.status, reply.headers["connection"].as_str()), (200, "close"));
    assert!(client.is_closed());
    gateway.close();
}
