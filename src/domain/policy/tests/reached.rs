//! Ports, logs and processes, where more is known than a file says.

use super::declared::{container, host};
use super::*;
use crate::facts::{DaemonFile, Logging};

#[test]
fn the_daemons_address_counts_where_a_port_names_none() {
    let case = super::declared::Case::new("ports: ['8080:80']", "");
    let spelled = super::declared::Case::new("ports: ['0.0.0.0:8080:80']", "");
    let mut host = host(|_| {});
    let keys = [("ip".to_owned(), serde_json::json!("127.0.0.1"))];
    host.daemon_file = DaemonFile::Read(keys.into());
    let judged = |spec| {
        told(CheckId::PortsInterface, &Subject { host: Some(&host), ..Subject::new("web", spec) })
    };
    assert_eq!(judged(case.web()), "pass");
    assert!(judged(spelled.web()).starts_with("fail"));
}

#[test]
fn the_daemons_log_options_count_where_a_service_has_none() {
    let judged = |spec: &ServiceSpec, driver: &str, options: Option<serde_json::Value>| {
        let mut host = host(|it| driver.clone_into(&mut it.logging_driver));
        host.daemon_arguments = Some(BTreeMap::new());
        host.daemon_file = match options {
            Some(options) => DaemonFile::Read([("log-opts".to_owned(), options)].into()),
            None => DaemonFile::Absent,
        };
        let subject = Subject { host: Some(&host), ..Subject::new("web", spec) };
        let word = told(CheckId::LogRotation, &subject);
        word.split(':').next().unwrap().to_owned()
    };
    let rotated = || Some(serde_json::json!({"max-size": "10m"}));
    let silent = service(|_| {});
    assert_eq!(judged(&silent, "json-file", rotated()), "pass");
    assert_eq!(judged(&silent, "json-file", None), "fail");
    assert_eq!(judged(&silent, "local", None), "pass");
    let logging = Logging { driver: Some("json-file".to_owned()), options: BTreeMap::new() };
    let spelled = service(|spec| spec.logging = Some(logging));
    assert_eq!(judged(&spelled, "json-file", rotated()), "pass");
    // The options of another driver are not its.
    assert_eq!(judged(&spelled, "local", rotated()), "fail");
    // The report of a container has the daemon's in it already.
    let container = container(spelled.clone(), &image(|_| {}));
    let live = Subject { container: Some(&container), ..Subject::new("web", &spelled) };
    assert!(told(CheckId::LogRotation, &live).starts_with("fail"));
}

#[test]
fn an_ssh_server_is_known_by_its_process() {
    let spec = service(|_| {});
    let judged = |processes: &[&str]| {
        let processes: Vec<String> = processes.iter().map(|it| (*it).to_owned()).collect();
        let subject = Subject { processes: Some(&processes), ..Subject::new("web", &spec) };
        told(CheckId::SshServer, &subject)
    };
    assert_eq!(judged(&[]), "pass");
    assert_eq!(judged(&["nginx: master process", "grep sshd"]), "pass");
    assert!(judged(&["/usr/sbin/sshd -D"]).starts_with("fail"));
    assert!(judged(&["nginx", "sshd: /usr/sbin/sshd [listener]"]).starts_with("fail"));
    let of_image = image(|spec| spec.entrypoint = Some(vec!["/usr/sbin/sshd".to_owned()]));
    let subject = Subject { image: Some(&of_image), ..Subject::new("web", &spec) };
    assert!(told(CheckId::SshServer, &subject).starts_with("fail"));
}
