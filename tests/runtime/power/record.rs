//! The record of the changes to files, as `tests/support/power.c` writes it.

use std::path::Path;

/// A change to the files of a folder. Paths are relative to it.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create {
        inode: u64,
        path: String,
    },
    Write {
        inode: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: u64,
        length: usize,
    },
    Sync {
        inode: u64,
        path: String,
    },
    SyncFolder(String),
    MakeFolder(String),
    Link {
        inode: u64,
        path: String,
    },
    Unlink(String),
    Rename {
        from: String,
        to: String,
    },
    /// The process has reported the commit of so many records.
    Report(u64),
}

/// All changes, in order.
pub(super) struct Record {
    pub(super) changes: Vec<Change>,
}

impl Record {
    pub(super) fn parse(mut bytes: &[u8], root: &Path) -> Self {
        let root = root.to_str().unwrap();
        let relative = |path: &str| path.strip_prefix(root).unwrap().to_string();
        let mut changes = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let line = std::str::from_utf8(&bytes[..end]).unwrap();
            bytes = &bytes[end + 1..];
            let (kind, rest) = line.split_once(' ').unwrap();
            let numbered = || {
                let (inode, path) = rest.split_once(' ').unwrap();
                (inode.parse().unwrap(), relative(path))
            };
            let number = |n: usize| rest.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
            changes.push(match kind {
                "create" => {
                    let (inode, path) = numbered();
                    Change::Create { inode, path }
                }
                "link" => {
                    let (inode, path) = numbered();
                    Change::Link { inode, path }
                }
                "sync" => {
                    let (inode, path) = numbered();
                    Change::Sync { inode, path }
                }
                "write" => {
                    let (taken, behind) = bytes.split_at(number(2) as usize);
                    bytes = behind;
                    let offset = number(1) as usize;
                    Change::Write { inode: number(0), offset, bytes: taken.to_vec() }
                }
                "truncate" => Change::Truncate { inode: number(0), length: number(1) as usize },
                "syncdir" => Change::SyncFolder(relative(rest)),
                "mkdir" => Change::MakeFolder(relative(rest)),
                "unlink" => Change::Unlink(relative(rest)),
                "rename" => {
                    let (from, to) = rest.split_once('\t').unwrap();
                    Change::Rename { from: relative(from), to: relative(to) }
                }
                "report" => Change::Report(rest.parse().unwrap()),
                other => panic!("unknown change {other}"),
            });
        }
        Record { changes }
    }
}
