//! A program without a command line builds only the packages that its connectors need.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

/// Returns the names of the packages that a program with these features builds.
fn packages(features: &str) -> BTreeSet<String> {
    let cargo = env::var("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"])
        .args(["--no-default-features", "--features", features])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

#[test]
fn archives_and_tables_bring_no_package_of_the_shell() {
    // reqwest is not among them: src/connectors/mod.rs has the reason.
    let shell = ["clap", "indicatif", "comfy-table", "mysql_async"];
    let services = ["rdkafka", "aws-config", "aws-sdk-kinesis", "axum", "saphyr-parser"];
    let is_in = |packages: &BTreeSet<String>, name: &&str| packages.contains(*name);
    let all = packages("default");
    let few = packages("archive,delta");
    let unwanted = shell.into_iter().chain(services);
    let missing: Vec<_> = unwanted.clone().filter(|name| !is_in(&all, name)).collect();
    assert!(missing.is_empty(), "no feature builds {missing:?}");
    let built: Vec<_> = unwanted.filter(|name| is_in(&few, name)).collect();
    assert!(built.is_empty(), "archives and tables build {built:?}");
    assert!(few.contains("parquet") && few.contains("flate2"));
}
