//! What an agent on one host does with keys that are written for other places: it honours them, passes
//! over them with a warning, or refuses them with a place and a reason.

use super::*;
use crate::facts::{DeviceRequest, OnUnhealthy, ServiceUnit};

fn file(body: &str) -> String {
    format!("services:\n  web:\n    image: i\n    {body}\n  db:\n    image: d\n")
}

fn unit(body: &str) -> ServiceUnit {
    let text = file(body);
    let spec = case(&[("compose.yaml", &text)]).lower();
    spec.unwrap_or_else(|problems| panic!("{problems}")).services.remove("web").unwrap()
}

fn refusals(body: &str) -> Vec<String> {
    let text = file(body);
    match case(&[("compose.yaml", &text)]).lower() {
        Ok(_) => panic!("accepted: {body}"),
        Err(problems) => first_lines(&problems),
    }
}

#[test]
fn a_container_has_no_port_zero() {
    for port in ["0", "'0'", "'80:0'", "'0:0/udp'", "'0-2'", "{target: 0, published: '80'}"] {
        assert_eq!(
            refusals(&format!("ports: [{port}]"))[0],
            "compose.yaml:4:13: a port of service `web` has no number in the container",
            "{port}"
        );
    }
    // Which port of the host is left to the engine.
    unit("ports: ['0:80']");
}

#[test]
fn every_key_that_cannot_be_honoured_is_refused() {
    let text = "
services:
  web:
    image: i
    x-own: fine
    credential_spec: {file: ./c.json}
    deploy:
      placement: {}
      mode: replicated-job
    secrets: [s]
secrets: {s: {file: none.txt}}
";
    let problems = case(&[("compose.yaml", text)]).lower().unwrap_err();
    assert_eq!(
        first_lines(&problems),
        [
            "compose.yaml:11:14: `secrets.s` has no content: there is no file `/p/none.txt`",
            "compose.yaml:9:13: `services.web.deploy.mode` cannot be honoured: use `replicated` or \
             `global`: jobs need a cluster",
            "compose.yaml:6:5: `services.web.credential_spec` cannot be honoured: it belongs to \
             Windows containers",
        ]
    );
}

#[test]
fn keys_without_effect_on_one_host_warn_with_their_place() {
    let check = |body: &str, place: &str, path: &str| {
        let text = format!("services:\n  web:\n    image: i\n    {body}\n");
        let files = [("compose.yaml", text.as_str())];
        let case = case(&files);
        let project = case.load().unwrap();
        let warnings: Vec<String> = project.warnings.iter().map(ToString::to_string).collect();
        let expect =
            format!("compose.yaml:{place}: `services.web.{path}` has no effect on one host");
        assert!(warnings.len() == 1 && warnings[0].starts_with(&expect), "{body}: {warnings:?}");
        assert_eq!(project.warnings[0].code, "compose.no_effect");
        case.lower().unwrap_or_else(|problems| panic!("{problems}"));
    };
    let quiet = |body: &str| {
        let text = format!("services:\n  web:\n    image: i\n    {body}\n");
        let files = [("compose.yaml", text.as_str())];
        let case = case(&files);
        assert_eq!(case.load().unwrap().warnings, [], "{body}");
        case.lower().unwrap_or_else(|problems| panic!("{problems}"));
    };
    for (key, value) in [
        ("placement", "{constraints: [node.role == manager]}"),
        ("endpoint_mode", "dnsrr"),
        ("rollback_config", "{parallelism: 2}"),
        ("labels", "[a=b]"),
    ] {
        check(&format!("deploy: {{{key}: {value}}}"), "4:14", &format!("deploy.{key}"));
    }
    check(
        "deploy: {update_config: {max_failure_ratio: 0.1}}",
        "4:30",
        "deploy.update_config.max_failure_ratio",
    );
    check(
        "deploy: {resources: {reservations: {cpus: '0.5'}}}",
        "4:41",
        "deploy.resources.reservations.cpus",
    );
    check(
        "deploy: {resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: a, \
         value: 1}}]}}}",
        "4:41",
        "deploy.resources.reservations.generic_resources",
    );
    for (key, value) in [("delay", "5s"), ("window", "2m")] {
        let body = format!("deploy: {{restart_policy: {{{key}: {value}}}}}");
        check(&body, "4:31", &format!("deploy.restart_policy.{key}"));
    }
    quiet("deploy: {mode: global}");
    quiet("deploy: {placement: {}, labels: {}}");
    quiet("ports: [{target: 80, name: http, app_protocol: http, mode: host}]");
}

#[test]
fn restart_policies_of_a_deployment_are_the_engines() {
    let check = |policy: &str, expect| {
        let unit = unit(&format!("deploy: {{restart_policy: {{{policy}}}}}"));
        assert_eq!(unit.spec.restart, expect, "{policy}");
    };
    check("condition: none", RestartPolicy::No);
    check("condition: 'no'", RestartPolicy::No);
    check("condition: any", RestartPolicy::Always);
    check("condition: always", RestartPolicy::Always);
    check("condition: unless-stopped", RestartPolicy::UnlessStopped);
    check(
        "condition: on-failure, delay: 5s, window: 2m, max_attempts: 3",
        RestartPolicy::OnFailure { retries_max: 3 },
    );
    assert_eq!(
        refusals("deploy: {restart_policy: {condition: unless-stopped, max_attempts: 3}}"),
        [
            "compose.yaml:4:72: `services.web.deploy.restart_policy.max_attempts` cannot be honoured: \
          the engine counts attempts only for `on-failure`"
        ]
    );
    assert_eq!(
        refusals("develop: {watch: [{path: ., action: rebuild}]}"),
        ["compose.yaml:4:5: `services.web.develop` cannot be honoured: files are watched by a \
          development session, not by a deployment"]
    );
    assert_eq!(
        refusals("deploy: {mode: global, replicas: 2}"),
        ["compose.yaml:4:20: `services.web.deploy.mode` cannot be honoured: one host has one \
          container of it, not several"]
    );
}

#[test]
fn devices_are_requested_from_the_engines_drivers() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let check = |body: &str, expect: DeviceRequest| {
        assert_eq!(unit(body).spec.security.device_requests, [expect], "{body}");
    };
    let gpus = DeviceRequest {
        count: -1,
        capabilities: [set(&["gpu"])].into(),
        ..DeviceRequest::default()
    };
    check("gpus: all", gpus.clone());
    let reserved =
        |device: &str| format!("deploy: {{resources: {{reservations: {{devices: [{device}]}}}}}}");
    check(&reserved("{capabilities: [gpu]}"), gpus.clone());
    check(&reserved("{capabilities: [gpu], count: all}"), gpus.clone());
    let driver = Some("nvidia".to_owned());
    check(
        &reserved("{driver: nvidia, count: 2, capabilities: [utility, gpu]}"),
        DeviceRequest {
            driver: driver.clone(),
            count: 2,
            capabilities: [set(&["gpu", "utility"])].into(),
            ..DeviceRequest::default()
        },
    );
    check(
        "gpus: [{driver: nvidia, device_ids: ['1', GPU-7], options: {a: b}}]",
        DeviceRequest {
            driver,
            count: 0,
            device_ids: set(&["1", "GPU-7"]),
            options: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            ..gpus
        },
    );
    assert_eq!(
        refusals("gpus: [{device_ids: ['1'], count: 1}]"),
        [
            "compose.yaml:4:39: `services.web.gpus.count` cannot be honoured: `count` and `device_ids` \
          exclude each other"
        ]
    );
}

#[test]
fn links_are_other_names_in_the_networks() {
    let links = |body: &str| unit(body).spec.external_links.into_iter().collect::<Vec<_>>();
    assert_eq!(links("links: [db]"), [""; 0]);
    assert_eq!(links("links: ['db:db']"), [""; 0]);
    assert_eq!(links("links: ['db:database', db]"), ["db:database"]);
    assert_eq!(
        links("links: ['db:database']\n    external_links: ['old_db_1:legacy', cache]"),
        ["cache", "db:database", "old_db_1:legacy"]
    );
    assert!(unit("links: ['db:database']").depends_on.contains_key("db"));
    assert_eq!(
        refusals("links: [db]\n    network_mode: bridge"),
        [
            "compose.yaml:4:12: `services.web.links` cannot be honoured: services find each other by \
          name only in `networks`"
        ]
    );
}

#[test]
fn an_extension_of_ours_is_checked_as_strictly_as_a_key() {
    let own = |body: &str| format!("x-wharfinger: {{{body}}}");
    let accepted = |body: &str, expect| assert_eq!(unit(&own(body)).on_unhealthy, expect, "{body}");
    accepted("", OnUnhealthy::Tell);
    accepted("on_unhealthy: tell", OnUnhealthy::Tell);
    accepted("on_unhealthy: restart", OnUnhealthy::Restart { tries_max: 5 });
    accepted("on_unhealthy: restart, max_restarts: 1", OnUnhealthy::Restart { tries_max: 1 });
    accepted("on_unhealthy: restart, max_restarts: '20'", OnUnhealthy::Restart { tries_max: 20 });
    let refused = |body: &str, place: &str, message: &str| {
        let expect = format!("compose.yaml:4:{place}: `services.web.x-wharfinger{message}");
        assert_eq!(refusals(&own(body)), [expect], "{body}");
    };
    let kind = "cannot be honoured: it is `restart` or `tell`";
    refused("on_unhealthy: [restart]", "34", &format!(".on_unhealthy` {kind}"));
    refused("on_unhealthy: {restart: 5}", "34", &format!(".on_unhealthy` {kind}"));
    refused(
        "on_unhealthy: reboot",
        "34",
        ".on_unhealthy` cannot be honoured: `reboot` is neither `restart` nor `tell`",
    );
    refused(
        "on_unhealthy: true",
        "34",
        ".on_unhealthy` cannot be honoured: `true` is neither `restart` nor `tell`",
    );
    let max = |value: &str| format!("on_unhealthy: restart, max_restarts: {value}");
    let number = ".max_restarts` cannot be honoured: it is a whole number";
    refused(&max("[1]"), "57", number);
    refused(&max("{a: 1}"), "57", number);
    for value in ["many", "1.5", "-1", "99999999999"] {
        let message = format!(".max_restarts` cannot be honoured: `{value}` is out of range");
        refused(&max(value), "57", &message);
    }
    for value in ["0", "21"] {
        refused(&max(value), "57", ".max_restarts` cannot be honoured: it is 1 to 20");
    }
    refused(
        "max_restarts: 3",
        "34",
        ".max_restarts` cannot be honoured: only `on_unhealthy: restart` restarts anything",
    );
    refused(
        "on_unhealty: restart",
        "20",
        ".on_unhealty` cannot be honoured: there is no counterpart for it",
    );
    let listed = refusals("x-wharfinger: [restart]");
    assert_eq!(
        listed,
        ["compose.yaml:4:19: `services.web.x-wharfinger` cannot be honoured: it must be a mapping"]
    );
}

#[test]
fn what_is_said_twice_is_said_alike() {
    let check = |text: &str, expect: &str| {
        let problems = case(&[("compose.yaml", text)]).problems();
        assert_eq!(problems, [expect], "{text}");
    };
    for (own, left, path, right) in [
        ("cpus", "0.5", "limits.cpus", "'1'"),
        ("mem_limit", "1g", "limits.memory", "512m"),
        ("pids_limit", "5", "limits.pids", "6"),
        ("mem_reservation", "1g", "reservations.memory", "512m"),
    ] {
        let (kind, key) = path.split_once('.').unwrap();
        let deploy = |value: &str| {
            file(&format!(
                "{own}: {left}\n    deploy: {{resources: {{{kind}: {{{key}: {value}}}}}}}"
            ))
        };
        let column = 7 + own.len();
        let place = format!("compose.yaml:4:{column}: service `web`: `{own}`");
        check(&deploy(right), &format!("{place} and `deploy.resources.{path}` differ"));
        let alike = if own == "cpus" { "'0.50'" } else { left };
        assert!(case(&[("compose.yaml", &deploy(alike))]).load().is_ok(), "{own}");
    }
    check(
        "services:\n  a: {image: i, container_name: x}\n  b: {image: i, container_name: x}\n",
        "compose.yaml:3:33: services `a` and `b` have the same `container_name` `x`",
    );
}
