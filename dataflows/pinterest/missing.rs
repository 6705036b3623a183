//! Why there is nothing to read, if archives are all that is read: what was looked for, and what is
//! there.

use std::collections::BTreeSet;

use watershed::store::Store;
use watershed::{Error, Result};

use crate::BindArgs;
use crate::run::{KINDS, archive, is_archive};

/// How many users or topics of an archive are named.
const NAMED: usize = 10;

/// Why there is nothing to read of the user, or of a topic, if archives are all that is read. Of
/// Kafka and Kinesis the sources themselves say that a topic is not there.
pub(crate) fn missing(bind: &BindArgs) -> Result<Vec<Error>> {
    let (urls, user) = (bind.urls(), &bind.user_id);
    if !urls.iter().all(|url| is_archive(url)) {
        return Ok(Vec::new());
    }
    let (mut users, mut all) = (BTreeSet::new(), BTreeSet::new());
    for url in &urls {
        let topics = Store::open(url)?.folders("topics")?;
        let owner = |topic: &String| {
            KINDS
                .iter()
                .find_map(|(kind, _)| topic.strip_suffix(&format!(".{kind}")).map(String::from))
        };
        users.extend(topics.iter().filter_map(owner));
        all.extend(topics);
    }
    if users.contains(user) {
        let topics = KINDS.iter().map(|(kind, _)| format!("{user}.{kind}"));
        return topics.filter_map(|topic| empty(&urls, &topic, &all).transpose()).collect();
    }
    let hint = match users.len() {
        0 => "There are no topics of any user.".to_string(),
        1 => format!("Give --user-id {}: there are no others.", named(&users)),
        _ => format!("Give --user-id and one of {}.", named(&users)),
    };
    Ok(vec![
        Error::config(format!("there are no topics of the user {user} in {}", urls.join(" or ")))
            .hint(hint),
    ])
}

/// Why there is nothing to read of a topic, if none of the archives has an object of it.
fn empty(urls: &[&str], topic: &str, all: &BTreeSet<String>) -> Result<Option<Error>> {
    let mut there = Vec::new();
    for url in urls {
        match archive(url)?.topic(topic).nothing()? {
            Some(nothing) => there.push(nothing),
            None => return Ok(None),
        }
    }
    let there = there.join("; ");
    let message = format!(
        "there are no objects {topic}+<partition>+<offset>.json or .json.gz to read: {there}"
    );
    Ok(Some(Error::config(message).hint(format!(
        "Bring them there, give another --from, or wait for them with --follow. There are the topics {}.",
        named(all)
    ))))
}

/// The first of some names.
fn named(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    first.join(", ") + if names.len() > NAMED { ", …" } else { "" }
}
