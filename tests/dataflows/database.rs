//! Rows of a real MariaDB: generated into it, posted from it, and cleaned to the rows that were invented.

use mysql_async::prelude::Queryable;
use mysql_async::{Opts, OptsBuilder, Pool};

use super::{Place, assert_same};
use crate::support::services::service;

/// A database of its own for a test.
struct Database {
    server: Opts,
    name: String,
}

impl Database {
    fn create() -> Option<Self> {
        let server = Opts::from_url(&service("mysql")?["MYSQL_URL"]).unwrap();
        let database = Database { server, name: format!("pinterest_{}", std::process::id()) };
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

    /// Its URL, as an argument may be.
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

    std::fs::write(place.path("db_creds.yaml"), format!("HOST: nowhere.invalid\nPASSWORD: '{password}'\n")).unwrap();
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
