//! The three tables in MySQL: reads rows by their offset, as the original does, and fills the
//! tables with invented rows.

use std::time::Duration;

use bytes::Bytes;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Pool, Row, TxOpts, Value};
use serde_json::Value as Json;
use watershed::{Error, Result};

use super::columns::record;
use super::credentials::Credentials;
use super::dates::DateFormat;
use crate::clean::moment;

/// The tables, in the order of the kinds.
const TABLES: [&str; 3] = ["pinterest_data", "geolocation_data", "user_data"];
/// Their columns, as the original has them.
const COLUMNS: [&str; 3] = [
    "`index` BIGINT, unique_id TEXT, title TEXT, description TEXT, poster_name TEXT, follower_count TEXT, tag_list TEXT, \
     is_image_or_video TEXT, image_src TEXT, downloaded BIGINT, save_location TEXT, category TEXT",
    "ind BIGINT, `timestamp` DATETIME, latitude DOUBLE, longitude DOUBLE, country TEXT",
    "ind BIGINT, first_name TEXT, last_name TEXT, age BIGINT, date_joined DATETIME",
];
const THERE: &str = "SELECT table_name FROM information_schema.tables \
    WHERE table_schema = DATABASE() AND table_name = ?";
/// Longest time to connect to a server and to log in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const UNREACHED: &str = "Check host and port, and that a MySQL listens there.";
/// Rows that are inserted by one statement.
const INSERT_ROWS: usize = 200;

/// A database with the three tables.
pub(super) struct Database {
    pool: Pool,
    name: String,
    /// Rows of the shortest table.
    count: u64,
    dates: DateFormat,
}

impl Database {
    /// Returns a pool of connections to a database, and its name for messages.
    fn reach(credentials: &Credentials) -> (Pool, String) {
        let Credentials { host, port, user, password, database } = credentials;
        let options = OptsBuilder::default()
            .ip_or_hostname(host.as_str())
            .tcp_port(*port)
            .prefer_socket(false);
        let options = options
            .user(Some(user.as_str()))
            .pass(password.as_deref())
            .db_name(Some(database.as_str()));
        (Pool::new(options), format!("mysql://{user}@{host}:{port}/{database}"))
    }

    /// Connects to a database and counts its rows.
    pub(super) async fn open(credentials: &Credentials, dates: Option<DateFormat>) -> Result<Self> {
        let (pool, name) = Self::reach(credentials);
        let mut database =
            Database { pool, name, count: u64::MAX, dates: dates.unwrap_or(DateFormat::Blank) };
        for table in TABLES {
            let count = database
                .first::<u64>(&format!("SELECT COUNT(*) FROM {table}"), ())
                .await?
                .unwrap_or(0);
            database.count = database.count.min(count);
        }
        if database.count == 0 {
            return Err(Error::data(format!(
                "can't take rows from {}: a table of the three has none",
                database.name
            ))
            .hint("Fill them with `pinterest generate --to mysql://…`."));
        }
        Ok(database)
    }

    /// Creates the three tables and fills them. `progress` is called with the number of rows that
    /// each has so far.
    pub(super) async fn fill(
        credentials: &Credentials,
        rows: &[[Bytes; 3]],
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let (pool, name) = Self::reach(credentials);
        let failed = |e: mysql_async::Error| refused(&name, e);
        let mut connection = connect(&pool, &name).await?;
        for (table, columns) in TABLES.into_iter().zip(COLUMNS) {
            let there: Option<String> =
                connection.exec_first(THERE, (table,)).await.map_err(failed)?;
            if there.is_some() {
                return Err(Error::data(format!(
                    "can't generate into {name}, which has a table {table} already"
                ))
                .hint("Drop it, or generate into another database."));
            }
            let create = format!("CREATE TABLE {table} ({columns}) CHARACTER SET utf8mb4");
            connection.query_drop(create).await.map_err(failed)?;
        }
        let mut done = 0;
        for rows in rows.chunks(INSERT_ROWS) {
            let mut transaction =
                connection.start_transaction(TxOpts::default()).await.map_err(failed)?;
            for (kind, (table, columns)) in TABLES.into_iter().zip(COLUMNS).enumerate() {
                let names: Vec<&str> =
                    columns.split(", ").filter_map(|column| column.split(' ').next()).collect();
                let line = format!("({})", vec!["?"; names.len()].join(","));
                let insert = format!(
                    "INSERT INTO {table} ({}) VALUES {}",
                    names.join(","),
                    vec![line; rows.len()].join(",")
                );
                let mut values = Vec::with_capacity(rows.len() * names.len());
                for row in rows {
                    let record: Json = serde_json::from_slice(&row[kind])
                        .map_err(|e| Error::internal("can't read what was generated").because(e))?;
                    values.extend(names.iter().map(|name| value(&record, name.trim_matches('`'))));
                }
                transaction.exec_drop(insert, values).await.map_err(failed)?;
            }
            transaction.commit().await.map_err(failed)?;
            done += rows.len() as u64;
            progress(done);
        }
        drop(connection);
        pool.disconnect().await.map_err(failed)
    }

    /// Returns the number of rows of the shortest table.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the rows at an offset, as JSON.
    pub(super) async fn row(&self, number: u64) -> Result<[Bytes; 3]> {
        let [pin, geo, user] = TABLES.map(|table| self.one(table, number));
        let (pin, geo, user) = futures::future::try_join3(pin, geo, user).await?;
        Ok([pin, geo, user])
    }

    async fn one(&self, table: &str, number: u64) -> Result<Bytes> {
        let row: Option<Row> =
            self.first(&format!("SELECT * FROM {table} LIMIT ?, 1"), (number,)).await?;
        let row = row.ok_or_else(|| {
            Error::data(format!("{table} in {} has no row {number} any more", self.name))
        })?;
        record(&row, self.dates).map(Bytes::from).map_err(|column| {
            Error::data(format!(
                "can't post row {number} of {table} in {}: its {column} holds bytes that are \
                 no text",
                self.name
            ))
            .hint("Give a view of the table that shows them as text, such as by HEX or CONVERT.")
        })
    }

    async fn first<T: mysql_async::prelude::FromRow + Send + 'static>(
        &self,
        statement: &str,
        parameters: impl Into<mysql_async::Params> + Send,
    ) -> Result<Option<T>> {
        let mut connection = connect(&self.pool, &self.name).await?;
        connection
            .exec_first(statement, parameters.into())
            .await
            .map_err(|e| refused(&self.name, e))
    }
}

async fn connect(pool: &Pool, name: &str) -> Result<Conn> {
    match tokio::time::timeout(CONNECT_TIMEOUT, pool.get_conn()).await {
        Ok(connected) => connected.map_err(|e| refused(name, e)),
        Err(_) => Err(Error::connect(format!(
            "can't ask {name}: no answer within {} seconds",
            CONNECT_TIMEOUT.as_secs()
        ))
        .hint(UNREACHED)),
    }
}

fn refused(name: &str, cause: mysql_async::Error) -> Error {
    let message = format!("can't ask {name}");
    let said = match &cause {
        mysql_async::Error::Server(said) => said,
        mysql_async::Error::Io(_) => {
            // The causes between the first and the last repeat the same text.
            let causes = std::iter::successors(Some(&cause as &dyn std::error::Error), |cause| {
                cause.source()
            });
            return Error::connect(message)
                .because(causes.last().map(ToString::to_string).unwrap_or_default())
                .hint(UNREACHED);
        }
        _ => return Error::connect(message).because(cause),
    };
    // https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
    let hint = match said.code {
        1044 | 1045 | 1142 | 1698 => "Check user and password, and what the user may do.",
        1049 => "Create the database, or give another one.",
        1109 | 1146 => "Fill the three tables with `pinterest generate --to mysql://…`.",
        _ => return Error::connect(message).because(cause),
    };
    Error::config(message).because(said.message.clone()).hint(hint)
}

/// Returns the field of a generated record that belongs in a column.
fn value(record: &Json, column: &str) -> Value {
    // A few senders use the other name for the number.
    let other = match column {
        "index" => "ind",
        "ind" => "index",
        same => same,
    };
    match record.get(column).or_else(|| record.get(other)) {
        Some(Json::Number(n)) => n.as_i64().map_or_else(|| n.as_f64().into(), Value::from),
        Some(Json::String(text)) => {
            let date =
                matches!(column, "timestamp" | "date_joined").then(|| moment(text)).flatten();
            let date = date.and_then(|at| chrono::DateTime::from_timestamp_micros(at.0));
            date.map_or_else(
                || text.as_str().into(),
                |at| DateFormat::Blank.write(at.naive_utc()).into(),
            )
        }
        _ => Value::NULL,
    }
}
