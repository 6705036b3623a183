//! Circles: files of one folder that import one another, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;
use super::{Broken, CIRCLE, Tree, imports, place};

/// The imports between the files of a folder; a subfolder counts as one file.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns every file of `src` that imports itself through others of its folder. The `mod.rs` of a
/// folder is not one of its files: it imports all of them.
pub(super) fn circles(files: &BTreeMap<String, String>, tree: &Tree) -> Vec<Broken> {
    let mut folders: BTreeMap<String, Imports> = BTreeMap::new();
    let shipped = files.iter().filter(|(path, _)| path.starts_with("src/") && !tree.is_test(path));
    for (path, text) in shipped {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
        let own: Vec<&str> = inner.split('/').filter(|part| *part != "mod").collect();
        for (_, imported) in imports(path, &Source::new(text)) {
            let common = own.iter().zip(&imported).take_while(|(a, b)| a == b).count();
            let (Some(from), Some(to)) = (own.get(common), imported.get(common)) else { continue };
            let folder = own[..common].join("/");
            let is_file = |end: &str| files.contains_key(&format!("src/{folder}/{to}{end}"));
            if common > 0 && (is_file(".rs") || is_file("/mod.rs")) {
                let imports = folders.entry(folder).or_default();
                imports.entry((*from).to_owned()).or_default().insert(to.clone());
            }
        }
    }
    let mut broken = Vec::new();
    for (folder, imports) in &folders {
        let circle = imports.keys().filter(|file| reached(file, imports).contains(*file));
        broken.extend(circle.map(|file| {
            let through: Vec<&str> = imports[file]
                .iter()
                .filter(|next| *next == file || reached(next, imports).contains(file))
                .map(String::as_str)
                .collect();
            let path = format!("src/{folder}/{file}.rs");
            (CIRCLE, place(&path, 1, &format!("through {}", through.join(", "))))
        }));
    }
    broken
}

/// Returns everything that `file` imports, directly or through others.
fn reached(file: &str, imports: &Imports) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![file]);
    while let Some(file) = open.pop() {
        for next in imports.get(file).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    reached
}
