//! Which series the containers of kept projects have, and how many.

use std::collections::BTreeMap;

use super::*;
use crate::base::Timestamp;
use crate::domain::findings::{FindingStatus, FindingType};
use crate::facts::{Instance, ServiceSpec};

fn container() -> ContainerFacts {
    ContainerFacts {
        health: Health::Unhealthy,
        restart_count: 2,
        started_at: Some(Timestamp::UNIX_EPOCH),
        ..ContainerFacts::running("shop-web-1", ServiceSpec::default())
    }
}

#[test]
fn so_many_instances_are_told_one_by_one_and_each_look_replaces_the_last() {
    let metrics = Metrics::new().unwrap();
    let many: Vec<ContainerFacts> = (1..=502)
        .map(|number| {
            let (project, service) = ("shop".to_owned(), "web".to_owned());
            ContainerFacts { instance: Some(Instance { project, service, number }), ..container() }
        })
        .collect();
    let found: Vec<_> = many.iter().map(|container| (container, None)).collect();
    metrics.instances.set(&found);
    let series = |metrics: &Metrics| {
        let text = metrics.render().unwrap();
        text.lines().filter(|line| line.starts_with("wharf_instance_healthy{")).count()
    };
    assert_eq!(series(&metrics), 500);
    assert!(metrics.render().unwrap().contains("wharf_instances_left_out 2"));
    metrics.instances.set(&found[..1]);
    assert_eq!(series(&metrics), 1);
    let text = metrics.render().unwrap();
    let labels = "{number=\"1\",project=\"shop\",service=\"web\"}";
    assert!(text.contains(&format!("wharf_instance_healthy{labels} 0")), "{text}");
    assert!(text.contains(&format!("wharf_instance_restarts{labels} 2")), "{text}");
}

/// Metrics of which every series was counted once.
fn filled() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.engine_call("ping", "ok", Duration::from_millis(2));
    metrics.store_commit("ok", Duration::from_millis(1));
    metrics.store_batch(3);
    metrics.convergence_swept();
    metrics.enforcement_judged("judged", Some(Duration::from_millis(200)));
    metrics.enforcement_acted("quarantine", Some(Duration::from_millis(900)));
    metrics.enforcement_refused("switched_off");
    metrics.enforcement_swept(Duration::from_millis(300));
    metrics.convergence_looked("settled");
    metrics.runs.with_label_values(&["queued"]).set(1);
    metrics.oldest_run_age.with_label_values(&["queued"]).set(1);
    metrics.audit_event("agent.started", "info");
    metrics.audit_anchor("file /mnt/anchors", true, 7);
    metrics.run_completed("deploy_project", "succeeded", Duration::from_secs(3));
    metrics.alert_delivery("delivered", Duration::from_millis(20));
    metrics.api_request("GET", 200);
    metrics.queue_claim("shop.mail", "run");
    metrics.queue_wait_over();
    metrics.queue_runs.with_label_values(&["shop.mail", "queued"]).set(1);
    metrics.queue_oldest.with_label_values(&["shop.mail"]).set(1);
    let instance =
        Some(Instance { project: "shop".to_owned(), service: "web".to_owned(), number: 1 });
    let container = ContainerFacts { instance, ..container() };
    let usage = ContainerUsage { memory_limit_bytes: Some(1), ..ContainerUsage::default() };
    metrics.instances.set(&[(&container, Some(&usage))]);
    let count = FindingCount {
        finding_type: FindingType::PolicyViolation,
        severity: Severity::High,
        status: FindingStatus::New,
        total: 3,
        overdue: 1,
    };
    let tally = Tally { passing: 2, failing: 1, excepted: 1, unknown: 0 };
    metrics.findings.set(&[count], &BTreeMap::from([("baseline".to_owned(), tally)]));
    metrics.projects.with_label_values(&["running"]).set(1);
    metrics.images_outdated.with_label_values(&["shop"]).set(1);
    metrics.image_vulnerabilities.with_label_values(&["high"]).set(1);
    metrics.containers.with_label_values(&["shop", "running", "healthy"]).set(1);
    metrics
}

#[test]
fn each_look_at_findings_replaces_the_last() {
    let metrics = filled();
    let text = metrics.render().unwrap();
    let open = "wharf_findings_open{severity=\"high\",status=\"new\",type=\"policy_violation\"} 3";
    assert!(text.contains(open), "{text}");
    assert!(text.contains("wharf_findings_overdue{severity=\"high\"} 1"), "{text}");
    assert!(text.contains("wharf_findings_overdue{severity=\"low\"} 0"), "{text}");
    let ratio = "wharf_policy_compliance_ratio{policy=\"baseline\"} 0.6666";
    assert!(text.contains(ratio), "{text}");
    metrics.findings.set(&[], &BTreeMap::new());
    let text = metrics.render().unwrap();
    assert!(!text.contains("wharf_findings_open{") && !text.contains(ratio), "{text}");
    assert!(text.contains("wharf_findings_overdue{severity=\"high\"} 0"), "{text}");
}

#[test]
fn every_name_of_the_list_is_a_series() {
    let text = filled().render().unwrap();
    for metric in Metric::ALL {
        assert!(text.contains(&format!("# HELP {metric} ")), "{metric}");
    }
}

#[test]
fn the_list_in_the_tree_is_fresh() {
    let rendered = filled().render().unwrap();
    let series: Vec<&str> = rendered.lines().collect();
    let mut text = "# Metrics\n\n`/metrics` gives these series in Prometheus's text format, and \
                    the library's `process_*`.\n\n| series | type | labels | meaning |\n\
                    |---|---|---|---|\n"
        .to_owned();
    for metric in Metric::ALL {
        let kind = series.iter().find_map(|line| {
            line.strip_prefix("# TYPE ")?.strip_prefix(metric.key())?.strip_prefix(' ')
        });
        let kind = kind.unwrap();
        let labels: Vec<String> =
            metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let (labels, help) = (labels.join(", "), metric.help());
        text.push_str(&format!("| `{metric}` | {kind} | {labels} | {help} |\n"));
    }
    crate::fresh_file("docs/metrics.md", &text);
}
