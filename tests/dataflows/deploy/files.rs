//! The files of `deploy/`, and the commands that they start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use super::yaml::Yaml;

/// Returns the text of a file of the repository.
pub(super) fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns the value of each setting in a unit of systemd or in an environment file. The values of
/// a setting that is given several times are joined by spaces.
fn settings(text: &str) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    let text = text.replace("\\\n", " ");
    for line in text.lines().filter(|line| !line.starts_with(['#', '['])) {
        let Some((name, value)) = line.split_once('=') else { continue };
        let all = settings.entry(name.to_owned()).or_default();
        *all = format!("{all} {value}").trim().to_owned();
    }
    settings
}

/// The unit of systemd, with its environment file.
pub(super) struct Unit {
    pub(super) settings: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl Unit {
    pub(super) fn read() -> Self {
        Unit {
            settings: settings(&file("deploy/systemd/pinterest@.service")),
            environment: settings(&file("deploy/systemd/pinterest.env")),
        }
    }

    /// The number of processes.
    pub(super) fn processes(&self) -> usize {
        self.environment["PROCESSES"].parse().unwrap()
    }

    /// Returns the arguments of a process, as systemd expands them.
    pub(super) fn args(&self, process: usize) -> Vec<String> {
        let mut words = self.settings["ExecStart"].split_whitespace();
        assert_eq!(words.next(), Some("/usr/local/bin/pinterest"));
        let expanded = |word: &str| -> Vec<String> {
            let word = word.replace("%i", &process.to_string()).replace("%d", "/run/credentials");
            let Some(name) = word.strip_prefix('$') else { return vec![word] };
            match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                // One word whatever it contains; without braces it is split.
                Some(name) => vec![self.environment[name].clone()],
                None => self.environment[name].split_whitespace().map(str::to_owned).collect(),
            }
        };
        words.flat_map(expanded).collect()
    }

    /// Returns true if systemd starts a process again that has ended with this code.
    pub(super) fn starts_again_after(&self, code: i32) -> bool {
        let never = self.settings["RestartPreventExitStatus"].split(' ');
        self.settings["Restart"] == "always"
            && !never.map(|code| code.parse()).any(|it| it == Ok(code))
    }
}

/// Returns the manifest of this kind.
pub(super) fn manifest(kind: &str) -> Yaml {
    let all = Yaml::documents(&file("deploy/kubernetes/pinterest.yaml"));
    all.into_iter().find(|document| document.text("kind") == kind).unwrap()
}

/// Returns the arguments of a pod, as Kubernetes expands them.
pub(super) fn pod_args(set: &Yaml, process: usize) -> Vec<String> {
    let container = set.at("spec.template.spec.containers.0");
    assert_eq!(container.text("env.0.name"), "POD_INDEX");
    let field = container.text("env.0.valueFrom.fieldRef.fieldPath");
    assert_eq!(field, "metadata.labels['apps.kubernetes.io/pod-index']");
    let args = container.texts("args");
    args.iter().map(|arg| arg.replace("$(POD_INDEX)", &process.to_string())).collect()
}

/// Returns the options of a command of the program, by its help page.
pub(super) fn options(command: &str) -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_pinterest")).args([command, "--help"]).output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    let lines = help.lines().map(|line| line.trim_start().trim_start_matches("-h, "));
    lines
        .filter(|line| line.starts_with("--"))
        .map(|line| line.split([' ', ',']).next().unwrap().to_owned())
        .collect()
}

/// Returns the words that look like options and are none.
pub(super) fn unknown<'a>(
    words: impl IntoIterator<Item = &'a str>,
    options: &BTreeSet<String>,
) -> Vec<&'a str> {
    let is_option = |word: &&str| word.starts_with("--") && word.len() > 2;
    words.into_iter().filter(is_option).filter(|word| !options.contains(*word)).collect()
}

/// Returns the value after an option.
#[track_caller]
pub(super) fn value<'a>(args: &'a [String], option: &str) -> &'a str {
    let at = args.iter().position(|arg| arg == option);
    &args[at.unwrap_or_else(|| panic!("no {option} in {args:?}")) + 1]
}
