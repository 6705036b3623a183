//! The dag under a real Airflow: a day replays and compares, and a difference fails it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

use super::{Place, assert_same, support};
use crate::support::services::skipped;

/// Returns the Python of Airflow and a home with an empty database. Where Airflow is not installed,
/// returns none and prints the reason.
fn installed() -> Option<(PathBuf, PathBuf)> {
    let found = Command::new("bash").arg(support("airflow.sh")).output().unwrap();
    if !found.status.success() {
        skipped(String::from_utf8_lossy(&found.stderr).trim());
        return None;
    }
    let printed = String::from_utf8(found.stdout).unwrap();
    printed.split_once('\n').map(|(python, home)| (python.into(), home.trim().into()))
}

/// Runs the dag for one day with `program`. Returns the result that Airflow reports, and the logs.
fn day(place: &Place, (python, home): &(PathBuf, PathBuf), program: &Path) -> (Json, String) {
    let own = tempfile::tempdir().unwrap();
    fs::copy(home.join("airflow.db"), own.path().join("airflow.db")).unwrap();
    let dags = own.path().join("dags");
    fs::create_dir(&dags).unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/airflow/demo_dag.py"),
        dags.join("demo_dag.py"),
    )
    .unwrap();
    let settings = [
        ("AIRFLOW_HOME", own.path()),
        ("AIRFLOW_VAR_PINTEREST_PROGRAM", program),
        ("AIRFLOW_VAR_PINTEREST_FOLDER", place.folder.path()),
        ("AIRFLOW_VAR_PINTEREST_SOURCES", Path::new("archive")),
        ("AIRFLOW_VAR_PINTEREST_LAKE", Path::new("lake")),
        ("AIRFLOW__CORE__LOAD_EXAMPLES", Path::new("False")),
    ];
    let ran = Command::new(python)
        .arg(support("dag.py"))
        .arg(dags.join("demo_dag.py"))
        .envs(settings)
        .output()
        .unwrap();
    let logged =
        [&ran.stdout, &ran.stderr].map(|printed| String::from_utf8_lossy(printed).into_owned());
    assert!(ran.status.success(), "{logged:?}");
    (serde_json::from_str(logged[0].trim().lines().last().unwrap()).unwrap(), logged.join("\n"))
}

#[test]
fn a_day_of_the_dag_replays_and_a_difference_fails_it() {
    let Some(airflow) = installed() else { return };
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "200"]);
    let pinterest = Path::new(env!("CARGO_BIN_EXE_pinterest"));
    let (seen, logged) = day(&place, &airflow, pinterest);
    let promised = json!({
        "id": "demo_dag", "schedule": "@daily", "catchup": false, "retries": [2], "delays": [120.0],
        "state": "success", "tasks": {"replay": "success"},
    });
    assert_eq!(seen, promised, "{logged}");
    assert!(logged.contains("all are equal"), "{logged}");
    assert_same("a day", &place.oracle("archive", &[]), &place.lake("lake", None));

    // A record of the archive changes between the replay and the comparison.
    let object = place.path("archive/topics/demo.user/partition=0/demo.user+0+0000000000.json");
    let script =
        "#!/bin/sh\n[ $1 = check ] && sed -i '1s/.*/{}/' $OBJECT\nexec $PINTEREST \"$@\"\n";
    let script = script
        .replace("$OBJECT", object.to_str().unwrap())
        .replace("$PINTEREST", pinterest.to_str().unwrap());
    let planting = place.path("planting");
    fs::write(&planting, script).unwrap();
    fs::set_permissions(&planting, fs::Permissions::from_mode(0o755)).unwrap();
    let (seen, logged) = day(&place, &airflow, &planting);
    assert_eq!(
        (&seen["state"], &seen["tasks"]),
        (&json!("failed"), &json!({"replay": "failed"})),
        "{logged}"
    );
    assert!(
        logged.contains("DIFFERENT") && logged.contains("pinterest check ended with 1"),
        "{logged}"
    );
}
