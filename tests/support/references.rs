//! Asks other implementations, by the programs in the folder beside this file. Owns which packages they need,
//! each in a pinned version or as the distribution has it. Face: `ask`. Never skips: what cannot be asked is a
//! failure.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const PACKAGES: [&str; 6] = [
    "packaging==26.2",
    "semver==3.0.4",
    "packageurl-python==0.17.6",
    "cyclonedx-python-lib[json-validation]==11.6.0",
    "cvss==3.6",
    "zstandard==0.25.0",
];
const SUPPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support");

/// Gives a program its input, and answers with what it says.
pub(crate) fn ask(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let interpreter = match program.rsplit_once('.').map(|(_, kind)| kind) {
        Some("py") => python(),
        Some("rb") => installed("ruby", &["ruby=ruby"]),
        Some("php") => {
            let semver = "/usr/share/php/Composer/Semver/autoload.php=php-composer-semver";
            installed("php", &["php=php-cli", semver])
        }
        _ => panic!("nothing runs {program}"),
    };
    let mut command = Command::new(interpreter);
    command.arg(format!("{SUPPORT}/references/{program}")).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // What it says may be more than a pipe holds.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            stdin.write_all(input).expect("the program reads its input");
        });
        child.wait_with_output().unwrap()
    })
}

fn python() -> String {
    static PYTHON: OnceLock<String> = OnceLock::new();
    let make = || {
        let mut venv = Command::new(format!("{SUPPORT}/venv"));
        let made = venv.arg("references").args(PACKAGES).stderr(Stdio::inherit()).output().unwrap();
        assert!(made.status.success(), "the Python environment cannot be made");
        format!("{}/python", String::from_utf8(made.stdout).unwrap().trim())
    };
    PYTHON.get_or_init(make).clone()
}

fn installed(program: &str, packages: &[&str]) -> String {
    let made = Command::new(format!("{SUPPORT}/packages")).args(packages).status().unwrap();
    assert!(made.success(), "{program} cannot be installed");
    program.to_owned()
}
