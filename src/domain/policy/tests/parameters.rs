//! Parameters as a policy's file sets them.

use super::*;
use crate::base::yaml::parse;

/// Sets all keys of a document.
fn set(text: &str) -> Result<Parameters, ParameterError> {
    let node = parse("p.yaml", text.as_bytes()).unwrap();
    let mut parameters = Parameters::default();
    for (key, node) in &node.as_map().unwrap().0 {
        parameters.set(&key.text, &node.value)?;
    }
    Ok(parameters)
}

#[test]
fn every_parameter_can_be_set() {
    let text = "capabilities_allowed: [CAP_CHOWN, kill]\ncgroup_parents_allowed: [/x]\ncpus: 0.1\n\
                devices_allowed: [/dev/dri]\nhost_paths_allowed: [/etc/x]\n\
                image_age_days_max: 30\nmemory: 512m\npids: 100\nports_address: '::1'\n\
                ports_needed: [80, '443']\nports_privileged_allowed: [80]\n\
                provenance_labels: [a]\nregistries: [ghcr.io]\nrestart_retries_max: 3\n\
                sockets: [/srv/s]\nsysctls_allowed: [net.x]\nulimits_max: {nofile: 10}\n";
    let error = "parameter `ports_needed` takes a list of ports, not this list";
    assert_eq!(set(text).unwrap_err().to_string(), error, "a port is a number");
    let found = set(&text.replace("'443'", "443")).unwrap();
    let texts = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    let expect = Parameters {
        capabilities_allowed: texts(&["CHOWN", "KILL"]),
        registries: Some(texts(&["ghcr.io"])),
        ports_privileged_allowed: [80].into(),
        ports_needed: Some([80, 443].into()),
        ports_address: Some("::1".parse().unwrap()),
        devices_allowed: texts(&["/dev/dri"]),
        host_paths_allowed: texts(&["/etc/x"]),
        sockets: texts(&["/srv/s"]),
        sysctls_allowed: texts(&["net.x"]),
        cgroup_parents_allowed: texts(&["/x"]),
        ulimits_max: [("nofile".to_owned(), 10)].into(),
        memory_bytes: Some(512 << 20),
        nano_cpus: Some(100_000_000),
        pids_max: 100,
        restart_retries_max: 3,
        image_age_days_max: 30,
        provenance_labels: texts(&["a"]),
    };
    assert_eq!(found, expect);
    for parameter in PARAMETERS {
        assert!(text.contains(&format!("{}:", parameter.name)), "{} is not set", parameter.name);
    }
}

#[test]
fn what_no_parameter_takes_is_refused() {
    let check = |text: &str, expect: &str| {
        let found = set(text).map(drop).unwrap_err().to_string();
        assert!(found.starts_with(expect), "{text}: {found}");
    };
    check("registrys: [a]", "no check has a parameter \"registrys\"; did you mean `registries`?");
    check("registries: ghcr.io", "parameter `registries` takes a list such as ghcr.io/acme, not");
    check("registries: ['']", "parameter `registries`");
    check("sockets: [docker.sock]", "parameter `sockets` takes a list of paths");
    check("memory: much", "parameter `memory` takes a size such as 512m, not \"much\"");
    check("memory: 0", "parameter `memory`");
    check("cpus: -1", "parameter `cpus`");
    check("cpus: 0", "parameter `cpus`");
    check("pids: 1.5", "parameter `pids`");
    check("pids: 0", "parameter `pids`");
    check("ports_address: eth0", "parameter `ports_address`");
    check("ports_needed: [0]", "parameter `ports_needed`");
    check("ports_needed: [65536]", "parameter `ports_needed`");
    check("ulimits_max: [nofile]", "parameter `ulimits_max`");
    check("image_age_days_max: -1", "parameter `image_age_days_max`");
    let many = format!("sysctls_allowed: [{}]", "x, ".repeat(1001));
    check(&many, "parameter `sysctls_allowed` has more than 1000 items");
    check(&format!("sysctls_allowed: [{}]", "x".repeat(513)), "parameter `sysctls_allowed` has");
}
