//! The address and the credentials of the database: from the URL in an argument, from a file of
//! YAML, or from the environment. A password is never an argument, because every user of a machine
//! can read arguments.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use reqwest::Url;
use watershed::program::plainly;
use watershed::{Error, Result};

use super::yaml;

/// The prefix of the environment variables. The file has the same names without it.
const PREFIX: &str = "PINTEREST_DB_";

/// The address of a database, and the user and password for it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
}

impl Credentials {
    /// Returns the credentials for `mysql://user@host:port/database`. Parts that the URL lacks are
    /// read from the file as HOST, USER, PASSWORD, DATABASE and PORT, or from the environment under
    /// the same names with the prefix `PINTEREST_DB_`. `PINTEREST_DB_CREDENTIALS` may name the
    /// file.
    pub(super) fn of(
        url: &str,
        file: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let parsed = Url::parse(url).map_err(|e| {
            Error::usage(format!("can't take {} for a database", plainly(url))).because(e)
        })?;
        if parsed.password().is_some() {
            return Err(Error::usage(
                "can't take a password as an argument: everyone on this machine could read it",
            )
            .hint(format!("Put it into a file for --credentials, or into {PREFIX}PASSWORD.")));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(Error::usage(format!(
                "can't take {} for a database: it has a ? or a #",
                plainly(url)
            ))
            .hint(
                "Give mysql://user@host:port/database, and the rest in a file for --credentials.",
            ));
        }
        let named = environment(&format!("{PREFIX}CREDENTIALS")).map(PathBuf::from);
        let path = file.or(named.as_deref());
        let file = path.map(read).transpose()?.unwrap_or_default();
        let told = |name: &str| {
            let in_file = file.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            in_file
                .or_else(|| environment(&format!("{PREFIX}{name}")))
                .filter(|value| !value.is_empty())
        };
        let first = |in_url: Option<&str>, name: &str| {
            let decoded = |value: &str| percent_decode_str(value).decode_utf8().map(String::from);
            let value = in_url.filter(|value| !value.is_empty()).map(decoded).transpose();
            let value = value.map_err(|e| {
                Error::usage(format!("can't take {url} for a database: its {name} is no text"))
                    .because(e)
            })?;
            value.or_else(|| told(name)).ok_or_else(|| {
                let file = path.map_or("a file for --credentials".to_string(), |path| {
                    path.display().to_string()
                });
                Error::config(format!("can't reach {url}: no {name} is given")).hint(format!(
                    "Give it in the URL, as `{name}: …` in {file}, or in {PREFIX}{name}."
                ))
            })
        };
        let port = parsed
            .port()
            .map(|port| port.to_string())
            .or_else(|| told("PORT"))
            .unwrap_or_else(|| "3306".to_string());
        Ok(Credentials {
            host: first(parsed.host_str(), "HOST")?,
            port: port
                .parse()
                .map_err(|_| Error::config(format!("can't reach {url}: {port} is no port")))?,
            user: first(Some(parsed.username()), "USER")?,
            password: told("PASSWORD"),
            database: first(Some(parsed.path().trim_matches('/')), "DATABASE")?,
        })
    }
}

/// Returns the names and values of a file of YAML.
fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let failed = || Error::config(format!("can't read the credentials in {}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| failed().because(e))?;
    let hint = "Write HOST, USER, PASSWORD, DATABASE and PORT, each once, as `NAME: value`.";
    yaml::pairs(&text).map_err(|why| failed().because(why).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_url_comes_first_then_the_file_then_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db_creds.yaml");
        std::fs::write(
            &file,
            "---\n# the original's names\nHOST: far\nUSER: 'reader'\n\
             PASSWORD: \"a: #b\"\nPORT: 3307 # ours\n",
        )
        .unwrap();
        let environment =
            |name: &str| (name == "PINTEREST_DB_DATABASE").then(|| "pins".to_string());
        let found = Credentials::of("mysql://near", Some(&file), &environment).unwrap();
        assert_eq!(
            (found.host.as_str(), found.port, found.user.as_str(), found.database.as_str()),
            ("near", 3307, "reader", "pins")
        );
        assert_eq!(found.password.as_deref(), Some("a: #b"));
        let named =
            |name: &str| (name == "PINTEREST_DB_CREDENTIALS").then(|| file.display().to_string());
        let found = Credentials::of("mysql://me@here:1/db", None, &named).unwrap();
        assert_eq!(
            (found.host.as_str(), found.port, found.user.as_str(), found.database.as_str()),
            ("here", 1, "me", "db")
        );
    }

    #[test]
    fn special_characters_of_a_url_are_percent_encoded() {
        let found =
            Credentials::of("mysql://a%40b%20c@here/d%C3%A9j%C3%A0+vu", None, &none).unwrap();
        assert_eq!((found.user.as_str(), found.database.as_str()), ("a@b c", "déjà+vu"));
        assert_eq!(Credentials::of("mysql://déjà@here/db", None, &none).unwrap().user, "déjà");
        let told = Credentials::of("mysql://a%ff@here/db", None, &none).err().unwrap().to_string();
        assert!(told.contains("its USER is no text"), "{told}");
    }

    #[test]
    fn missing_parts_are_named_and_a_password_is_never_shown() {
        let error = |url: &str| Credentials::of(url, None, &none).err().unwrap().to_string();
        assert!(error("mysql://me@here").contains("DATABASE"));
        assert!(error("mysql://here/db").contains("USER"));
        let told = error("mysql://me:secret@here/db");
        assert!(!told.contains("secret"), "{told}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db_creds.yaml");
        std::fs::write(&file, "HOST: far\nPASSWORD secret\n").unwrap();
        let told =
            Credentials::of("mysql://me@here/db", Some(&file), &none).err().unwrap().to_string();
        assert!(told.contains("line 2") && !told.contains("secret"), "{told}");
        std::fs::write(&file, "HOST: far\nuser: me\nPASSWORD: secret\n").unwrap();
        let told = Credentials::of("mysql://", Some(&file), &none).err().unwrap().to_string();
        assert!(
            told.contains("no USER is given")
                && told.contains("db_creds.yaml")
                && !told.contains("secret"),
            "{told}"
        );
        let told = error("mysql://me:sec ret@here:port/db");
        assert!(told.contains("port") && !told.contains("ret"), "{told}");
    }
}
