//! Ports, limits, logs and processes: compliant, violating and evasive spellings.

use super::declared::{container, host, table, table_with};
use super::*;
use crate::facts::{DaemonFile, Logging};

#[test]
fn ports_of_the_host_below_1024_are_found() {
    table(
        CheckId::PortsPrivileged,
        &[
            ("", "", "pass"),
            ("ports: ['8080:80']", "", "pass"),
            ("ports: ['80']", "", "pass"),
            ("ports: ['1024:80']", "", "pass"),
            ("network_mode: host", "", "pass"),
            ("ports: ['80:8080']", "", "fail: port 80 of the host is published at ports"),
            ("ports: ['127.0.0.1:443:8443']", "", "fail"),
            ("ports: ['[::1]:1023:80']", "", "fail"),
            ("ports: ['1020-1030:1020-1030']", "", "fail"),
            ("ports: ['1000-2000:80']", "", "fail: port 1000"),
            ("ports: ['53:53/udp']", "", "fail"),
            ("ports: [{target: 8080, published: 80}]", "", "fail"),
            ("ports: [{target: 8080, published: '1000-2000'}]", "", "fail"),
            ("ports: ['${PORT:-22}:2222']", "", "fail"),
        ],
    );
    let parameters =
        Parameters { ports_privileged_allowed: [80, 443].into(), ..Parameters::default() };
    table_with(
        CheckId::PortsPrivileged,
        &parameters,
        &[
            ("ports: ['80:80', '443:443']", "", "pass"),
            ("ports: ['80-81:80-81']", "", "fail: port 81"),
        ],
    );
}

#[test]
fn ports_on_all_addresses_are_found() {
    let rows = [
        ("", "", "pass"),
        ("expose: [80]", "", "pass"),
        ("ports: ['127.0.0.1:8080:80']", "", "pass"),
        ("ports: ['10.1.2.3::80']", "", "pass"),
        ("ports: ['[::1]:8080:80']", "", "pass"),
        ("ports: [{target: 80, published: 8080, host_ip: 127.0.0.1}]", "", "pass"),
        ("ports: ['8080:80']", "", "fail: port 80 is published on all addresses at ports"),
        ("ports: ['80']", "", "fail"),
        ("ports: [80]", "", "fail"),
        ("ports: ['0.0.0.0:8080:80']", "", "fail"),
        ("ports: ['[::]:8080:80']", "", "fail"),
        ("ports: [{target: 80, published: 8080}]", "", "fail"),
        ("ports: [{target: 80, host_ip: '0:0:0:0:0:0:0:0'}]", "", "fail"),
        ("ports: ['127.0.0.1:8080:80', '9090:90']", "", "fail"),
    ];
    table(CheckId::PortsInterface, &rows);
    let address = Some("127.0.0.1".parse().unwrap());
    let parameters = Parameters { ports_address: address, ..Parameters::default() };
    table_with(CheckId::PortsInterface, &parameters, &rows);
}

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
fn only_needed_ports_are_published() {
    table(
        CheckId::PortsNeeded,
        &[
            ("", "", "pass"),
            ("expose: [80]", "", "pass"),
            ("ports: ['8080:80']", "", "unknown: parameters.ports_needed"),
        ],
    );
    let parameters = Parameters { ports_needed: Some([80].into()), ..Parameters::default() };
    table_with(
        CheckId::PortsNeeded,
        &parameters,
        &[
            ("ports: ['8080:80']", "", "pass"),
            (
                "ports: ['80:22', '8080:80']",
                "",
                "fail: port 22 is published and not needed at ports",
            ),
            ("ports: ['8080-8081:80-81']", "", "fail: port 81"),
        ],
    );
}

#[test]
fn the_default_bridge_is_found() {
    table(
        CheckId::DefaultBridge,
        &[
            ("", "", "pass"),
            ("networks: [front]", "networks: {front: {}}\n", "pass"),
            ("network_mode: none", "", "pass"),
            (
                "network_mode: bridge",
                "",
                "fail: it is on the engine's default bridge at network_mode",
            ),
            ("network_mode: default", "", "fail"),
        ],
    );
}

#[test]
fn limits_are_limits_wherever_they_are_declared() {
    let limits = |text: &str| format!("deploy: {{resources: {{limits: {{{text}}}}}}}");
    table(
        CheckId::MemoryLimit,
        &[
            (&limits("memory: 64m"), "", "pass"),
            ("mem_limit: 64m", "", "pass"),
            ("", "", "fail: its memory is not limited at deploy.resources.limits"),
            ("mem_limit: 0", "", "fail"),
            ("mem_reservation: 64m", "", "fail"),
            ("deploy: {resources: {reservations: {memory: 64m}}}", "", "fail"),
            (&limits("cpus: '1'"), "", "fail"),
        ],
    );
    table(
        CheckId::CpuLimit,
        &[
            (&limits("cpus: '0.5'"), "", "pass"),
            ("cpus: 0.5", "", "pass"),
            ("cpu_shares: 512", "", "pass"),
            ("cpu_quota: 5000", "", "pass"),
            ("cpuset: 0-1", "", "pass"),
            ("", "", "fail: its CPU time is neither limited nor weighted"),
            ("cpu_shares: 1024", "", "fail"),
            ("cpus: 0", "", "fail"),
            ("cpu_quota: -1", "", "fail"),
        ],
    );
    table(
        CheckId::PidsLimit,
        &[
            (&limits("pids: 100"), "", "pass"),
            ("pids_limit: 100", "", "pass"),
            ("", "", "fail: the number of its processes is not limited"),
            ("pids_limit: -1", "", "fail"),
            ("pids_limit: 0", "", "fail"),
        ],
    );
}

#[test]
fn process_limits_have_a_bound() {
    table(
        CheckId::Ulimits,
        &[
            ("", "", "pass"),
            ("ulimits: {nofile: 65536, memlock: -1}", "", "pass"),
            ("ulimits: {nofile: {soft: 1024, hard: 1048576}}", "", "pass"),
            (
                "ulimits: {nofile: -1}",
                "",
                "fail: it raises `nofile` without bound at ulimits.nofile",
            ),
            ("ulimits: {nofile: {soft: 1, hard: 1048577}}", "", "fail"),
            ("ulimits: {nproc: {soft: 1, hard: -1}}", "", "fail"),
            ("ulimits: {nproc: 100000}", "", "fail"),
        ],
    );
    let parameters =
        Parameters { ulimits_max: [("nofile".to_owned(), -1)].into(), ..Parameters::default() };
    table_with(CheckId::Ulimits, &parameters, &[("ulimits: {nofile: -1}", "", "pass")]);
}

#[test]
fn restarts_have_an_end() {
    table(
        CheckId::RestartPolicy,
        &[
            ("", "", "pass"),
            ("restart: 'no'", "", "pass"),
            ("restart: on-failure:5", "", "pass"),
            ("restart: on-failure:3", "", "pass"),
            ("deploy: {restart_policy: {condition: on-failure, max_attempts: 5}}", "", "pass"),
            ("deploy: {restart_policy: {condition: none}}", "", "pass"),
            ("restart: always", "", "fail: it is restarted without end at restart"),
            ("restart: unless-stopped", "", "fail"),
            ("restart: on-failure", "", "fail"),
            ("restart: on-failure:0", "", "fail"),
            ("restart: on-failure:6", "", "fail: it is restarted after failures more than 5 times"),
            ("deploy: {restart_policy: {condition: any}}", "", "fail"),
            ("deploy: {restart_policy: {condition: on-failure}}", "", "fail"),
        ],
    );
}

#[test]
fn logs_are_rotated_or_go_elsewhere() {
    table(
        CheckId::LogRotation,
        &[
            ("", "", "unknown: host.logging"),
            ("logging: {driver: json-file}", "", "unknown: host.logging"),
            ("logging: {driver: json-file, options: {max-size: 10m, max-file: '3'}}", "", "pass"),
            ("logging: {driver: local}", "", "pass"),
            ("logging: {driver: syslog}", "", "pass"),
            ("logging: {driver: json-file, options: {max-size: '-1'}}", "", "fail"),
        ],
    );
    table(
        CheckId::LoggingDisabled,
        &[
            ("", "", "pass"),
            ("logging: {driver: json-file}", "", "pass"),
            ("logging: {driver: none}", "", "fail: its output is thrown away at logging.driver"),
        ],
    );
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
fn an_ssh_server_is_known_by_its_process_or_its_command() {
    table(
        CheckId::SshServer,
        &[
            ("", "", "unknown: container.processes"),
            ("command: [/usr/sbin/sshd, -D]", "", "fail: it starts `/usr/sbin/sshd` at command"),
            ("entrypoint: sh -c 'ssh-keygen -A && exec sshd -De'", "", "fail"),
            ("command: sh -c 'dropbear;sleep 9'", "", "fail"),
            ("command: ssh user@host", "", "unknown"),
        ],
    );
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
