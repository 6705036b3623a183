//! Listing the files of a topic, in a folder or in an object store, at any depth.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind as Io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

use super::finder::Finder;
use super::layout::{is_of_sink, partition_of};

/// The folders in the folder of a topic.
#[derive(Default)]
pub(super) struct Top {
    /// The partitions that have a folder `partition=<p>`.
    pub(super) partitions: Vec<u32>,
    /// The other folders: those of a time, of a field and so on.
    pub(super) folders: Vec<String>,
}

/// Lists the folder of a topic itself, and passes its files to `finder`.
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

/// Lists `folders` of a topic, at any depth, until `finder` has `enough`. `after` is a path that
/// comes before all wanted objects; only an object store makes use of it.
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
    /// A file's name, and true for a file or a link that leads to one or nowhere. Pipes and devices
    /// are not objects, whatever their names: reading them may never end, nor even begin.
    File(&'a str, bool),
}

/// Passes each entry of a folder to `take` until that returns false; none, if the folder does not
/// exist. Only names and kinds are read: a system call for each of many files would take longer
/// than everything else.
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
            // Follow links, because a partition may be a link to another disk. A broken link is an
            // error: the other files alone would be incomplete.
            match target(&entry.path()) {
                Ok(target) => (folder, file) = (target.is_dir(), target.is_file()),
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

/// Returns the file or folder that a link leads to. A link to a folder that contains it is an
/// error, because following it never ends.
fn target(link: &Path) -> Result<fs::Metadata> {
    let failed = |why: Error| Err(unreadable(why));
    let target = match fs::metadata(link) {
        Ok(target) => target,
        Err(e) => {
            return failed(Error::connect(format!("can't follow {}", link.display())).because(e));
        }
    };
    let same = |above: &Path| {
        let above = if above.as_os_str() == OsStr::new("") { Path::new(".") } else { above };
        fs::metadata(above)
            .is_ok_and(|above| (above.dev(), above.ino()) == (target.dev(), target.ino()))
    };
    if target.is_dir() && link.ancestors().skip(1).any(same) {
        return failed(Error::connect(format!(
            "can't follow {}: it leads to a folder that contains it",
            link.display()
        )));
    }
    Ok(target)
}

/// Adds the usual way out to the error of a folder or a file that can't be read.
pub(super) fn unreadable(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Connect => error.hint("Check that it is there and may be read by this user."),
        _ => error,
    }
}
