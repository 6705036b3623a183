//! The files of `deploy/` are true: their options and exit codes exist, their parts agree with one
//! another, and their commands start a run that continues after a death.

mod files;
mod probe;
mod trial;
mod yaml;

use std::collections::BTreeSet;

use watershed::{Error, ErrorKind};

use files::{Unit, file, manifest, options, pod_args, unknown, value};

/// Exit codes after which another start would end in the same way.
const FINAL: [ErrorKind; 4] =
    [ErrorKind::Usage, ErrorKind::Data, ErrorKind::Superseded, ErrorKind::Config];

/// Exit codes after which another start may succeed.
const PASSING: [ErrorKind; 3] = [ErrorKind::Connect, ErrorKind::Internal, ErrorKind::Lost];

fn code(kind: ErrorKind) -> i32 {
    Error::new(kind, "").exit_code().into()
}

#[test]
fn each_option_of_deploy_is_one_of_the_program() {
    let run = options("run");
    assert!(run.contains("--hosts") && run.contains("--start-within"), "{run:?}");
    assert_eq!(unknown(["run", "--hosts", "--hostss", "--", "-x"], &run), ["--hostss"]);
    let set = manifest("StatefulSet");
    for args in [Unit::read().args(0), pod_args(&set, 0)] {
        assert_eq!(args[0], "run");
        assert_eq!(unknown(args.iter().map(String::as_str), &run), [""; 0]);
    }
    // Commands in pages: `pinterest run --a` in a line.
    let mut found = 0;
    for page in ["deploy/README.md", "deploy/systemd/pinterest.env"] {
        for line in file(page).replace("\\\n", " ").lines() {
            let Some((_, command)) = line.split_once("pinterest run") else { continue };
            let words = command.split([' ', '`', '[', ']']);
            assert_eq!(unknown(words, &run), [""; 0], "{page}: {line}");
            found += 1;
        }
    }
    assert!(found >= 2, "the pages show commands");
}

#[test]
fn the_unit_starts_again_unless_it_is_in_vain() {
    let unit = Unit::read();
    let prevented = unit.settings["RestartPreventExitStatus"].split(' ');
    let prevented: BTreeSet<i32> = prevented.map(|code| code.parse().unwrap()).collect();
    assert_eq!(prevented, FINAL.map(code).into(), "the codes of errors that stay");
    for passing in PASSING.map(code).into_iter().chain([0]) {
        assert!(unit.starts_again_after(passing), "{passing}");
    }
    assert!(!unit.starts_again_after(code(ErrorKind::Data)));
}

#[test]
fn the_unit_has_no_rights_and_time_to_commit() {
    let Unit { settings, .. } = Unit::read();
    for (name, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", ""),
        ("StartLimitIntervalSec", "0"),
        ("KillSignal", "SIGTERM"),
        ("StandardError", "journal"),
    ] {
        assert_eq!(settings[name], value, "{name}");
    }
    assert!(settings["LoadCredential"].starts_with("secret:"));
    assert!(settings["TimeoutStopSec"].parse::<u32>().unwrap() >= 60);
}

#[test]
fn the_manifest_agrees_with_itself() {
    let (set, service) = (manifest("StatefulSet"), manifest("Service"));
    let (args, pod) = (pod_args(&set, 0), set.at("spec.template.spec"));
    let container = pod.at("containers.0");
    assert_eq!(value(&args, "--processes"), set.text("spec.replicas"));
    assert_eq!(set.text("spec.podManagementPolicy"), "Parallel");
    // Names of pods are name-0.service.
    let (name, headless) = (set.text("metadata.name"), service.text("metadata.name"));
    let port = container.text("ports.0.containerPort");
    assert_eq!(set.text("spec.serviceName"), headless);
    assert_eq!(service.text("spec.clusterIP"), "None");
    assert_eq!(service.text("spec.publishNotReadyAddresses"), "true");
    assert_eq!(value(&args, "--hosts"), format!("{name}-{{}}.{headless}:{port}"));
    assert_eq!(value(&args, "--listen-at"), format!("0.0.0.0:{port}"));
    let policy = manifest("NetworkPolicy");
    assert_eq!(service.text("spec.ports.0.port"), port);
    assert_eq!(policy.text("spec.ingress.0.ports.0.port"), port);
    let labels = set.at("spec.template.metadata.labels");
    for selector in [
        service.at("spec.selector"),
        set.at("spec.selector.matchLabels"),
        policy.at("spec.podSelector.matchLabels"),
        policy.at("spec.ingress.0.from.0.podSelector.matchLabels"),
    ] {
        assert_eq!(selector, labels);
    }
    // The probe looks at the file that the process writes, in a folder that it may write to.
    let (path, probe) = (value(&args, "--liveness-file"), container.at("livenessProbe"));
    assert!(probe.text("exec.command.2").contains(&format!("find {path} -newermt")));
    assert_eq!(container.text("volumeMounts.1.mountPath"), "/tmp");
    assert!(path.starts_with("/tmp/"));
    let mount = container.text("volumeMounts.0.mountPath");
    assert_eq!(value(&args, "--secret"), format!("{mount}/secret"));
    assert_eq!(pod.text("volumes.0.name"), container.text("volumeMounts.0.name"));
    // Other users of the node's file system can't read the secret, and the group of the pod can.
    assert_eq!(pod.text("volumes.0.secret.defaultMode"), "0440");
    let user = pod.text("securityContext.runAsUser");
    assert_eq!(pod.text("securityContext.fsGroup"), user);
    assert!(file("deploy/Dockerfile").contains(&format!("\nUSER {user}:{user}\n")));
    assert_eq!(container.text("securityContext.readOnlyRootFilesystem"), "true");
    assert!(pod.text("terminationGracePeriodSeconds").parse::<u32>().unwrap() >= 60);
}

#[test]
fn the_image_is_built_as_the_pages_describe() {
    let image = file("deploy/Dockerfile");
    let toolchain = file("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    assert!(image.contains(&format!("FROM rust:{}-", channel.trim_matches('"'))), "{channel}");
    let readme = file("README.md");
    let packages = readme.split("(Debian: `").nth(1).unwrap().split('`').next().unwrap();
    for package in packages.split(' ') {
        assert!(image.contains(&format!(" {package}")), "the image lacks {package}");
    }
    let manifest = file("Cargo.toml");
    let build = image.lines().find(|line| line.contains("cargo build")).unwrap();
    assert!(build.contains("--release --locked"), "{build}");
    assert!(
        manifest.contains("[[bin]]\nname = \"pinterest\"") && build.contains("--bin pinterest")
    );
    let port = manifest_port();
    assert!(image.contains(&format!("\nEXPOSE {port}\n")), "{port}");
    // Each folder that the manifest of cargo needs is part of the build.
    let kept = file(".dockerignore");
    let needed =
        [".cargo/config.toml", "Cargo.lock", "Cargo.toml", "src", "dataflows", "tests/model"];
    for path in needed {
        assert!(kept.lines().any(|line| line == format!("!{path}")), "{path}");
    }
}

fn manifest_port() -> String {
    manifest("Service").text("spec.ports.0.port").to_owned()
}
