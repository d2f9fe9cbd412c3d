//! What keeps a process inside, where more is known than a file says.

use super::declared::{Case, host};
use super::*;

#[test]
fn a_host_keeps_from_new_privileges_unless_a_service_says_otherwise() {
    let mut spec = service(|_| {});
    let safe = host(|it| {
        it.security_options.insert("name=no-new-privileges".to_owned());
    });
    let judged = |spec: &ServiceSpec| {
        told(CheckId::NoNewPrivileges, &Subject { host: Some(&safe), ..Subject::new("web", spec) })
    };
    assert_eq!(judged(&spec), "pass");
    spec.security.security_opt.insert("no-new-privileges:false".to_owned());
    assert!(judged(&spec).starts_with("fail"));
}

#[test]
fn an_engine_without_seccomp_filters_nothing() {
    let spec = service(|_| {});
    let judged = |options: &[&str]| {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let host = host(|it| it.security_options = options);
        told(CheckId::Seccomp, &Subject { host: Some(&host), ..Subject::new("web", &spec) })
    };
    assert_eq!(judged(&["name=seccomp,profile=builtin"]), "pass");
    assert!(judged(&["name=seccomp,profile=unconfined"]).starts_with("fail"));
    assert!(judged(&["name=apparmor"]).starts_with("fail"));
}

#[test]
fn everything_that_is_repaired_at_once_passes_at_once() {
    let case = Case::new(
        "privileged: true\ncap_add: [ALL, IPC_LOCK]\npid: host\nipc: host\nuts: host\n\
         userns_mode: host\ncgroup: host\ncgroup_parent: /x\nsecurity_opt: ['seccomp:unconfined', \
         'apparmor=unconfined', 'label:disable', 'no-new-privileges:false']\ndevices: [/dev/sda]\n\
         sysctls: {net.ipv4.ip_forward: 1}\nulimits: {nofile: -1}\nrestart: always\n\
         volumes: ['/var/run:/r', '/srv:/s:rshared']",
        "",
    );
    let parameters = Parameters::default();
    let mut spec = case.web().clone();
    // Taking privileges away shows what they covered, so that it takes a second look.
    for _ in 0..2 {
        let before = spec.clone();
        for check in CHECKS {
            let subject = Subject::new("web", &before);
            let remedy = check.remedy.and_then(|remedy| remedy(&subject, &parameters));
            remedy.into_iter().for_each(|remedy| remedy.apply(&mut spec));
        }
    }
    let subject = Subject::new("web", &spec);
    for check in CHECKS.iter().filter(|check| check.remedy.is_some()) {
        let by_parameter =
            matches!(check.id, CheckId::MemoryLimit | CheckId::CpuLimit | CheckId::ImageDigest);
        let verdict = (check.judge)(&subject, &parameters);
        let failed = matches!(verdict, Verdict::Fail { .. });
        assert_eq!(failed, by_parameter, "{}: {verdict:?}", check.id);
    }
}
