//! Errors for topics without any object, if all sources are archives.

use std::collections::BTreeSet;

use super::bind::{Binding, archive, is_archive};
use crate::error::{Error, Result};
use crate::store::Store;

/// Most owners or topics of an archive that an error names.
const NAMED_MAX: usize = 10;

/// Returns an error for each topic without an object in any archive, or one error for the owner if
/// the archives have none of its topics.
///
/// There is no error if Kafka or Kinesis are read too: their sources report missing topics.
pub(super) fn missing(binding: &Binding<'_>) -> Result<Vec<Error>> {
    let urls = binding.urls();
    if !urls.iter().all(|url| is_archive(url)) {
        return Ok(Vec::new());
    }
    let mut there = BTreeSet::new();
    for url in &urls {
        there.extend(Store::open(url)?.folders("topics")?);
    }
    if let Some(error) = unknown_owner(binding, &urls, &there) {
        return Ok(vec![error]);
    }
    let topics = binding.names.topics().into_iter();
    topics.filter_map(|topic| empty(binding, &urls, &topic, &there).transpose()).collect()
}

/// Returns an error if there are only topics of other owners.
fn unknown_owner(binding: &Binding<'_>, urls: &[&str], there: &BTreeSet<String>) -> Option<Error> {
    let option = binding.shell.prefix.as_ref()?;
    let prefix = binding.names.prefix.as_ref()?;
    let suffixes: Vec<String> = binding.shell.reads.iter().map(|t| format!(".{t}")).collect();
    let owner = |topic: &String| {
        suffixes.iter().find_map(|suffix| topic.strip_suffix(&**suffix)).map(String::from)
    };
    let owners: BTreeSet<String> = there.iter().filter_map(owner).collect();
    if owners.contains(prefix) {
        return None;
    }
    let (owner, flag) = (option.owner, option.option);
    let hint = match owners.len() {
        0 => format!("Give another --from: there are no topics of any {owner}."),
        1 => format!("Give --{flag} {}: there are no others.", named(&owners)),
        _ => format!("Give --{flag} and one of {}.", named(&owners)),
    };
    let places = urls.join(" or ");
    let message = format!("there are no topics of the {owner} {prefix} in {places}");
    Some(Error::config(message).hint(hint))
}

/// Returns an error if none of the archives has an object of `topic`.
fn empty(
    binding: &Binding<'_>,
    urls: &[&str],
    topic: &str,
    all: &BTreeSet<String>,
) -> Result<Option<Error>> {
    let mut there = Vec::new();
    for url in urls {
        match archive(binding.shell, url)?.topic(topic).describe_if_empty()? {
            Some(nothing) => there.push(nothing),
            None => return Ok(None),
        }
    }
    let there = there.join("; ");
    let listed = match all.len() {
        0 => "The archive has no topics.".to_string(),
        _ => format!("There are the topics {}.", named(all)),
    };
    let message = format!(
        "there are no objects {topic}+<partition>+<offset>.json or .json.gz to read: {there}"
    );
    Ok(Some(Error::config(message).hint(format!(
        "Copy them there, give another --from, or wait for them with `run --follow`. {listed}"
    ))))
}

/// Returns the first of some names, separated by commas.
fn named(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    first.join(", ") + if names.len() > NAMED_MAX { ", …" } else { "" }
}
