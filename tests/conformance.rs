//! Compares the canonical model with what Docker Compose prints, over the public sample projects.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wharfinger::cli::project_files::read_project;
use wharfinger::domain::compose::{Options, canonical};

/// The share that must be equal: all of them.
const EQUAL_MIN: f64 = 1.0;

fn cases() -> Option<(PathBuf, Vec<Value>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let near = [root.join("shared"), root.parent()?.join("shared")];
    let root = near.iter().map(|dir| dir.join("conformance/compose")).find(|dir| dir.is_dir())?;
    let index = std::fs::read_to_string(root.join("index.json")).ok()?;
    Some((root, serde_json::from_str(&index).ok()?))
}

/// What Compose prints, or that it refuses.
fn is_equal(root: &Path, case: &Value) -> bool {
    let project = case["project"].as_str().unwrap_or_default();
    let file = root.join("projects").join(project);
    let top = root.join("projects").join(project.split('/').next().unwrap_or_default());
    let options = Options {
        directory: file.parent().unwrap().to_string_lossy().into_owned(),
        files: vec![file.file_name().unwrap().to_string_lossy().into_owned()],
        project_name: Some("conf".to_owned()),
        ..Options::default()
    };
    let read = read_project(&options);
    if case["ok"] != true {
        return read.is_err();
    }
    let Ok((project, _)) = read else { return false };
    let text = canonical(&project).to_string().replace(&*top.to_string_lossy(), "@ROOT@");
    let home = std::env::var("HOME").unwrap_or_default();
    let text = text.replace(&format!("\"{home}/"), "\"/nonexistent/");
    let got: Value = serde_json::from_str(&text).unwrap();
    let expected = root.join(case["expected"].as_str().unwrap_or_default());
    let want: Value = serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
    got == want
}

#[test]
fn canonical_models_equal_those_of_docker_compose() {
    let Some((root, cases)) = cases() else {
        println!("SKIPPED: the conformance projects are not beside this checkout");
        return;
    };
    let unequal: Vec<&str> = cases
        .iter()
        .filter(|case| !is_equal(&root, case))
        .filter_map(|case| case["project"].as_str())
        .collect();
    let equal = cases.len() - unequal.len();
    println!("{equal} of {} equal", cases.len());
    let share = equal as f64 / cases.len() as f64;
    assert!(share >= EQUAL_MIN, "not equal: {unequal:#?}");
}

#[test]
fn the_demo_project_loads() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/demo");
    let options = Options { directory: demo.to_string_lossy().into_owned(), ..Options::default() };
    let (project, _) = read_project(&options).unwrap();
    assert!(project.services().count() > 3);
    assert!(project.warnings.is_empty(), "{:?}", project.warnings);
}

#[test]
fn the_configuration_of_the_service_unit_is_right() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/agent.yaml");
    let wharf = env!("CARGO_BIN_EXE_wharf");
    let checked = Command::new(wharf).args(["config", "check"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
