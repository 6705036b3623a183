//! Rows of a real MariaDB: generated into it, posted from it, and cleaned to the original rows.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::Queryable;
use mysql_async::{Opts, OptsBuilder, Pool};
use serde_json::Value as Json;

use super::{Place, Tables, assert_same};
#[cfg(feature = "kafka")]
use crate::connectors::kafka::cluster;
#[cfg(feature = "kinesis")]
use crate::connectors::kinesis::{World, server};
use crate::support::services::service;

/// A database of one test.
struct Database {
    server: Opts,
    name: String,
}

impl Database {
    fn create() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = Opts::from_url(&service("mysql")?["MYSQL_URL"]).unwrap();
        let name =
            format!("pinterest_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Database { server, name };
        database.ask(&format!("CREATE DATABASE {}", database.name));
        Some(database)
    }

    fn ask(&self, statement: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = Pool::new(OptsBuilder::from_opts(self.server.clone()));
            pool.get_conn().await.unwrap().query_drop(statement).await.unwrap();
            pool.disconnect().await.unwrap();
        });
    }

    /// Its URL, for the command line.
    fn url(&self) -> String {
        let (user, host) = (self.server.user().unwrap(), self.server.ip_or_hostname());
        format!("mysql://{user}@{host}:{}/{}", self.server.tcp_port(), self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.ask(&format!("DROP DATABASE {}", self.name));
    }
}

#[test]
fn rows_of_a_database_are_posted_as_they_were_invented() {
    let Some(database) = Database::create() else { return };
    let (place, url) = (Place::new(), database.url());
    let password = database.server.pass().unwrap();
    let generate = ["generate", "--to", &url, "--events", "350"];
    let output = place.command(&generate).env("PINTEREST_DB_PASSWORD", password).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = place.command(&generate).env("PINTEREST_DB_PASSWORD", password).output().unwrap();
    assert_eq!(again.status.code(), Some(65), "{}", String::from_utf8_lossy(&again.stderr));

    std::fs::write(
        place.path("db_creds.yaml"),
        format!("HOST: nowhere.invalid\nPASSWORD: '{password}'\n"),
    )
    .unwrap();
    let all = ["--rows", "350", "--events", "350", "--in-order", "--rate", "0"];
    let from = ["emulate", "--from", &url, "--credentials", "db_creds.yaml", "--to", "stored"];
    place.run(&[&from[..], &all[2..]].concat());
    place.run(&[&["emulate", "--to", "invented"], &all[..]].concat());
    for archive in ["stored", "invented"] {
        place.run(&["run", "--from", archive, "--lake", &format!("{archive}-lake")]);
    }
    let stored = place.lake("stored-lake", None);
    assert_eq!((stored["pin_table"].len(), stored["dead_letters"].len()), (350, 0));
    assert_same("rows of a database", &place.lake("invented-lake", None), &stored);

    let refused = place.fail(&["emulate", "--from", &url, "--to", "none", "--events", "1"], 78);
    assert!(refused.contains("can't ask mysql://"), "{refused}");
}

#[test]
fn a_row_is_posted_as_the_database_shows_it() {
    let Some(database) = Database::create() else { return };
    let kinds = [
        ("f FLOAT", "-89.9787", "-89.9787"),
        ("g FLOAT UNSIGNED", "0.1", "0.1"),
        ("d DOUBLE", "-89.97869873046875", "-89.97869873046875"),
        ("n DECIMAL(30,10)", "12345678901234567890.0123456789", "12345678901234567890.0123456789"),
        ("z DECIMAL(8,2) ZEROFILL", "12.3", "12.30"),
        ("t TIMESTAMP(6)", "'2020-08-28 03:52:47.000120'", r#""2020-08-28T03:52:47.000120""#),
        ("s DATETIME(6)", "'2020-08-28 03:52:47'", r#""2020-08-28 03:52:47""#),
        ("o TIME", "'-26:03:04'", r#""-26:03:04""#),
        ("p TIME(6)", "'01:02:03.000004'", r#""01:02:03.000004""#),
        ("y YEAR", "2020", "2020"),
        ("b BIT(12)", "b'100000000001'", "2049"),
        ("u BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"),
        ("i BIGINT", "-9223372036854775808", "-9223372036854775808"),
        ("e BOOL", "TRUE", "1"),
        ("j JSON", r#"'{"a":[1,"é"]}'"#, r#""{\"a\":[1,\"é\"]}""#),
        ("x TEXT", "'a\"b\\\\c é'", r#""a\"b\\c é""#),
        ("l VARCHAR(9) CHARACTER SET latin1", "'é'", r#""é""#),
        ("q TEXT", "NULL", "null"),
    ];
    let columns: Vec<_> = kinds.iter().map(|(column, ..)| *column).collect();
    let values: Vec<_> = kinds.iter().map(|(_, value, _)| *value).collect();
    for table in ["pinterest_data", "geolocation_data", "user_data"] {
        database.ask(&format!(
            "CREATE TABLE {}.{table} ({}) CHARACTER SET utf8mb4",
            database.name,
            columns.join(", ")
        ));
        database.ask(&format!(
            "INSERT INTO {}.{table} VALUES ({})",
            database.name,
            values.join(", ")
        ));
    }
    let (mut place, url) = (Place::new(), database.url());
    place.environment.push(("PINTEREST_DB_PASSWORD", database.server.pass().unwrap().to_string()));
    place.run(&["emulate", "--from", &url, "--to", "archive", "--events", "1", "--rate", "0"]);
    let expected = kinds
        .iter()
        .map(|(column, _, shown)| format!("\"{}\": {shown}", &column[..1]))
        .collect::<Vec<_>>()
        .join(", ");
    let [line] = &place.lines("archive", "demo.geo", 0)[..] else {
        panic!("one row is one record")
    };
    assert_eq!(String::from_utf8_lossy(line), format!("{{{expected}}}"));

    database.ask(&format!(
        "ALTER TABLE {}.user_data ADD v VARBINARY(9) DEFAULT X'FF00'",
        database.name
    ));
    let refused = place
        .fail(&["emulate", "--from", &url, "--to", "archive", "--events", "1", "--rate", "0"], 65);
    assert!(
        refused.contains("row 0 of user_data") && refused.contains("its v holds bytes"),
        "{refused}"
    );
}

const EVENTS: usize = 40;
const KINDS: [&str; 3] = ["pin", "geo", "user"];

/// A database with the rows of some events, and the tables of the same events without a database.
struct Filled {
    place: Place,
    database: Database,
    user: String,
    expected: Tables,
}

impl Filled {
    fn new(user: &str) -> Option<Self> {
        let database = Database::create()?;
        let (mut place, user) = (Place::new(), format!("{user}-{}", std::process::id()));
        place
            .environment
            .push(("PINTEREST_DB_PASSWORD", database.server.pass().unwrap().to_string()));
        let events = EVENTS.to_string();
        place.run(&["generate", "--to", &database.url(), "--events", &events]);
        let to = ["--to", "invented", "--rows", &events, "--events", &events, "--user-id", &user];
        place.run(&[&["emulate", "--in-order", "--rate", "0"], &to[..]].concat());
        place.run(&["run", "--from", "invented", "--lake", "invented-lake", "--user-id", &user]);
        let expected = place.lake("invented-lake", None);
        assert_eq!((expected["pin_table"].len(), expected["dead_letters"].len()), (EVENTS, 0));
        Some(Filled { place, database, user, expected })
    }

    /// Posts every row to `to`, and reads the records of each kind with `held`. Every event must be
    /// there once, and the tables must be the expected ones.
    fn assert_posted_once(&self, to: &str, held: impl Fn(&str) -> Vec<Vec<u8>>) {
        let (events, from) = (EVENTS.to_string(), self.database.url());
        let args =
            ["emulate", "--from", &from, "--to", to, "--events", &events, "--user-id", &self.user];
        let printed = self.place.run(&[&args[..], &["--in-order", "--rate", "0"]].concat());
        assert!(printed.contains(&format!("{} records taken, 0 refused", 3 * EVENTS)), "{printed}");
        let number = |record: Vec<u8>| {
            let record: Json = serde_json::from_slice(&record).unwrap();
            record.get("ind").or(record.get("index")).unwrap().as_i64().unwrap()
        };
        let [pins, geos, users] = KINDS.map(|kind| {
            let records = held(kind);
            assert_eq!(records.len(), EVENTS, "records of {kind} in {to}");
            records.into_iter().map(number).collect::<BTreeSet<_>>()
        });
        assert!(
            pins.len() == EVENTS && pins == geos && geos == users,
            "events in {to}: {pins:?} {geos:?} {users:?}"
        );
        self.place.run(&["run", "--from", to, "--lake", "lake", "--user-id", &self.user]);
        assert_same(to, &self.expected, &self.place.lake("lake", None));
    }
}

#[test]
fn rows_of_a_database_reach_an_archive_once() {
    let Some(filled) = Filled::new("folder") else { return };
    filled.assert_posted_once("archive", |kind| {
        filled.place.lines("archive", &format!("{}.{kind}", filled.user), 0)
    });
}

#[cfg(feature = "kafka")]
#[test]
fn rows_of_a_database_reach_kafka_once() {
    let (Some(cluster), Some(filled)) = (cluster(), Filled::new("kafka")) else { return };
    let prefix = format!("{}.", cluster.unique());
    filled.assert_posted_once(&cluster.url(&prefix), |kind| {
        let records = cluster.read(&format!("{prefix}{}.{kind}", filled.user), 0);
        records.into_iter().map(|(_, _, value)| value.unwrap()).collect()
    });
}

#[cfg(feature = "kinesis")]
#[test]
fn rows_of_a_database_reach_kinesis_once() {
    let (Some(endpoint), Some(mut filled)) = (server(), Filled::new("kinesis")) else { return };
    let settings = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "of-the-test"),
        ("AWS_ENDPOINT_URL_KINESIS", &endpoint),
    ];
    filled.place.environment.extend(settings.map(|(name, value)| (name, value.to_string())));
    let shards = 2;
    let streams = KINDS.map(|kind| {
        (kind, World::named(format!("streaming-{}-{kind}", filled.user), shards).unwrap())
    });
    filled.assert_posted_once("kinesis://eu-west-1", |kind| {
        let (_, stream) = streams.iter().find(|(name, _)| *name == kind).unwrap();
        (0..shards).flat_map(|shard| stream.shard(shard)).collect()
    });
}
