//! A running gateway, senders that post to it, and the records of its archive.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::sync::Mutex;

use watershed::connect::{Poll, Source};
use watershed::connectors::archive::Archive;

use super::Place;
use super::follow::{terminate, until};
use crate::support::http::Client;

/// The content type of REST Proxy clients.
pub(super) const JSON: (&str, &str) = ("Content-Type", "application/vnd.kafka.json.v2+json");

/// A gateway that runs in a place.
pub(super) struct Running {
    pub(super) child: Child,
    screen: BufReader<ChildStdout>,
    pub(super) address: SocketAddr,
}

pub(super) fn gateway(place: &Place, args: &[&str]) -> Running {
    Running::of(
        place.spawn(&[&["gateway", "--listen", "127.0.0.1:0", "--to", "archive"], args].concat()),
    )
}

impl Running {
    /// Waits until a started gateway listens.
    pub(super) fn of(mut child: Child) -> Self {
        let mut screen = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        screen.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|line| line.split(',').next()?.parse().ok());
        Running {
            child,
            screen,
            address: address.unwrap_or_else(|| panic!("not listening: {line}")),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it, and returns the rest of its standard output.
    pub(super) fn stop(mut self) -> String {
        terminate(&self.child);
        let mut rest = String::new();
        self.screen.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

/// Every record of a topic in an archive, by partition and offset.
pub(super) fn records(archive: &Path, topic: &str) -> BTreeMap<(u32, u64), String> {
    let topic = Archive::open(archive.to_str().unwrap()).unwrap().topic(topic);
    let mut records = BTreeMap::new();
    for partition in topic.partitions().unwrap() {
        let (mut reader, mut next) = (topic.open(partition, Some(0), false).unwrap(), 0);
        while let Poll::Batch(batch) = reader.poll().unwrap() {
            for span in &batch.records {
                let value = span.value.clone().unwrap();
                let value = String::from_utf8(
                    batch.bytes[value.start as usize..value.end as usize].to_vec(),
                )
                .unwrap();
                assert_eq!(span.offset, next, "partition {partition} has a gap");
                records.insert((partition, span.offset), value);
                next += 1;
            }
        }
    }
    records
}

/// The records that REST Proxy clients sent to `demo.pin`, and the acknowledged ones by partition
/// and offset.
#[derive(Default)]
pub(super) struct Posted {
    acknowledged: Mutex<BTreeMap<(u32, u64), String>>,
    sent: Mutex<BTreeSet<String>>,
}

impl Posted {
    pub(super) const SENDERS: usize = 6;

    /// Sends from many threads until `enough` more records are acknowledged, then kills the
    /// gateway.
    pub(super) fn until_killed(&self, running: Running, round: usize, enough: usize) {
        let (address, mut child) = (running.address, running.child);
        let before = self.acknowledged.lock().unwrap().len();
        std::thread::scope(|scope| {
            (0..Self::SENDERS).for_each(|sender| {
                scope.spawn(move || self.send(address, &format!("{round}-{sender}")));
            });
            until("enough records", || self.acknowledged.lock().unwrap().len() > before + enough);
            child.kill().unwrap();
        });
        child.wait().unwrap();
    }

    /// Sends until the gateway stops answering.
    pub(super) fn send(&self, address: SocketAddr, sender: &str) {
        let mut client = Client::connect(address);
        for n in 0.. {
            let values: Vec<String> =
                (0..=n % 3).map(|k| format!(r#"{{"id":"{sender}-{n}-{k}"}}"#)).collect();
            self.sent.lock().unwrap().extend(values.iter().cloned());
            let body = values
                .iter()
                .map(|value| format!(r#"{{"value":{value}}}"#))
                .collect::<Vec<_>>()
                .join(",");
            let body = format!(r#"{{"records":[{body}]}}"#);
            let Ok(reply) = client.ask("POST", "/topics/demo.pin", &[JSON], &body) else { return };
            assert_eq!(reply.status, 200, "{reply:?}");
            let mut acknowledged = self.acknowledged.lock().unwrap();
            for (value, place) in
                values.into_iter().zip(reply.json()["offsets"].as_array().unwrap())
            {
                let place = (
                    place["partition"].as_u64().unwrap() as u32,
                    place["offset"].as_u64().unwrap(),
                );
                assert_eq!(
                    acknowledged.insert(place, value),
                    None,
                    "{place:?} is acknowledged twice"
                );
            }
        }
    }

    /// Checks that each acknowledged record is at its offset, and that no record is duplicated or
    /// unknown.
    pub(super) fn assert_in(self, found: &BTreeMap<(u32, u64), String>) {
        let (acknowledged, sent) =
            (self.acknowledged.into_inner().unwrap(), self.sent.into_inner().unwrap());
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|(place, value)| found.get(place) != Some(value))
            .take(5)
            .collect();
        assert!(
            lost.is_empty(),
            "of {} acknowledged records these are not there: {lost:?}",
            acknowledged.len()
        );
        let values: BTreeSet<_> = found.values().cloned().collect();
        assert_eq!(values.len(), found.len(), "a record is there twice");
        assert!(values.is_subset(&sent), "a record is there that nobody sent");
    }
}
