//! Looking below a topic, in a folder or in an object store: what lies there directly, and what
//! lies in folders, at any depth.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind as Io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::Store;

use super::finder::Finder;
use super::layout::{is_of_sink, partition_of};
use super::objects::unreadable;

/// The folders in the folder of a topic.
#[derive(Default)]
pub(super) struct Top {
    /// The partitions that have a folder `partition=<p>`.
    pub(super) partitions: Vec<u32>,
    /// The other folders: those of a time, of a field and so on.
    pub(super) folders: Vec<String>,
}

/// Looks into the folder of a topic itself; what it finds there goes to `finder`.
pub(super) fn top(topic: &Store, finder: &mut Finder<'_>) -> Result<Top> {
    let (mut top, here) = (Top::default(), Arc::from(""));
    let mut folder = |name: String| match partition_of(&name) {
        Some(partition) => top.partitions.push(partition),
        None if name.starts_with('.') || is_of_sink(&name) => {}
        None => top.folders.push(name),
    };
    if let Some(remote) = topic.remote() {
        let (files, folders) = remote.list("").map_err(unreadable)?;
        folders.into_iter().for_each(&mut folder);
        files.iter().filter(|(name, _)| !is_of_sink(name)).for_each(|(name, size)| {
            finder.take(&here, name, Some(*size), true);
        });
    } else if let Some(root) = topic.folder() {
        each_entry(root, finder, |entry, finder| {
            match entry {
                Entry::Folder(name) => folder(name.to_string()),
                Entry::File(name, _) if is_of_sink(name) => {}
                Entry::File(name, file) => finder.take(&here, name, None, file),
            }
            true
        })?;
    }
    top.partitions.sort_unstable();
    top.folders.sort_unstable();
    Ok(top)
}

/// Looks into `folders` of a topic, at any depth, until `finder` has `enough`; `after` may be a
/// path that objects come after, of which only an object store makes use.
pub(super) fn below(
    topic: &Store,
    folders: &[String],
    after: Option<&str>,
    finder: &mut Finder<'_>,
    mut enough: impl FnMut(&Finder<'_>) -> bool,
) -> Result<()> {
    if let Some(remote) = topic.remote() {
        let mut last: Arc<str> = Arc::from("");
        let take = |path: &str, size| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if *last != *folder {
                last = Arc::from(folder);
            }
            finder.take(&last, name, Some(size), true);
            !enough(finder)
        };
        return remote.each(folders, after, take).map_err(unreadable);
    }
    let Some(root) = topic.folder() else { return Ok(()) };
    let mut left: Vec<Arc<str>> = folders.iter().rev().map(|folder| Arc::from(&**folder)).collect();
    let mut over = false;
    while let Some(folder) = left.pop().filter(|_| !over) {
        each_entry(&root.join(&*folder), finder, |entry, finder| {
            match entry {
                Entry::Folder(name) if name.starts_with('.') => {}
                Entry::Folder(name) => left.push(format!("{folder}/{name}").into()),
                Entry::File(name, file) => finder.take(&folder, name, None, file),
            }
            over = enough(finder);
            !over
        })?;
    }
    Ok(())
}

/// An entry of a folder.
enum Entry<'a> {
    Folder(&'a str),
    /// True for a file, or a link that leads to one or nowhere. A pipe or a device is no object,
    /// whatever its name: it need not end, nor even begin.
    File(&'a str, bool),
}

/// Passes each entry of a folder to `take`, until that returns false; none, if there is no such
/// folder. Only names and kinds are read: a call for each of many files would take longer than the
/// rest.
fn each_entry<'f>(
    path: &Path,
    finder: &mut Finder<'f>,
    mut take: impl FnMut(Entry<'_>, &mut Finder<'f>) -> bool,
) -> Result<()> {
    let failed =
        |e| unreadable(Error::connect(format!("can't list {}", path.display())).because(e));
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let (kind, name) = (entry.file_type().map_err(failed)?, entry.file_name());
        let text = name.to_string_lossy();
        let (mut folder, mut file) = (kind.is_dir(), kind.is_file());
        if kind.is_symlink() {
            // A partition may be a link to another disk. What can't be followed is no reason to
            // read the rest only.
            match led(&entry.path()) {
                Ok(led) => (folder, file) = (led.is_dir(), led.is_file()),
                Err(_) if text.starts_with('.') || finder.knows(&text).is_some() => file = true,
                Err(error) => return Err(error),
            }
        }
        if folder && name.to_str().is_none() {
            (folder, file) = (false, false);
        }
        let entry = if folder { Entry::Folder(&text) } else { Entry::File(&text, file) };
        if !take(entry, finder) {
            break;
        }
    }
    Ok(())
}

/// The file or folder that a link leads to. One that leads to a folder it lies in has no end.
fn led(link: &Path) -> Result<fs::Metadata> {
    let failed = |why: Error| Err(unreadable(why));
    let led = match fs::metadata(link) {
        Ok(led) => led,
        Err(e) => {
            return failed(Error::connect(format!("can't follow {}", link.display())).because(e));
        }
    };
    let same = |above: &Path| {
        let above = if above.as_os_str() == OsStr::new("") { Path::new(".") } else { above };
        fs::metadata(above).is_ok_and(|above| (above.dev(), above.ino()) == (led.dev(), led.ino()))
    };
    if led.is_dir() && link.ancestors().skip(1).any(same) {
        return failed(Error::connect(format!(
            "can't follow {}: it leads to a folder that it lies in",
            link.display()
        )));
    }
    Ok(led)
}
