//! Lowers limits. Owns the two places where Compose declares them: the service and its `deploy`.
//! Face: `lower`. Never adds a limit of its own.

use std::collections::BTreeMap;

use super::section::Section;
use crate::facts::{BlkioLimits, DeviceRequest, Resources, Ulimit};

/// The limits of a service, where `deploy.resources` wins, as in Docker Compose; and the devices
/// that a driver of the engine chooses for it.
pub(super) fn lower(
    section: &mut Section<'_>,
    deploy: Option<&mut Section<'_>>,
) -> (Resources, Vec<DeviceRequest>) {
    let mut requests: Vec<DeviceRequest> =
        section.sections("gpus").into_iter().map(|gpu| device_request(gpu, &["gpu"])).collect();
    let mut resources = Resources {
        memory_bytes: section.number("mem_limit"),
        memory_reservation_bytes: section.number("mem_reservation"),
        memory_swap_bytes: section.number("memswap_limit"),
        memory_swappiness: section.number("mem_swappiness"),
        nano_cpus: section.text("cpus").and_then(|text| nano_cpus(&text)),
        cpu_shares: section.number("cpu_shares"),
        cpu_quota_micros: section.number("cpu_quota"),
        cpu_period_micros: section.number("cpu_period"),
        cpu_rt_runtime_micros: section.number("cpu_rt_runtime"),
        cpu_rt_period_micros: section.number("cpu_rt_period"),
        cpuset_cpus: section.text("cpuset"),
        cpu_count: section.number("cpu_count"),
        cpu_percent: section.number("cpu_percent"),
        pids_max: section.number("pids_limit"),
        shm_size_bytes: section.number("shm_size"),
        oom_kill_disable: section.flag("oom_kill_disable").unwrap_or_default(),
        oom_score_adj: section.number("oom_score_adj"),
        ulimits: ulimits(section),
        blkio: section.section("blkio_config").map(blkio).unwrap_or_default(),
    };
    let Some(mut declared) = deploy.and_then(|deploy| deploy.section("resources")) else {
        return (resources, requests);
    };
    if let Some(mut limits) = declared.section("limits") {
        let cpus = limits.text("cpus").and_then(|text| nano_cpus(&text));
        resources.nano_cpus = cpus.or(resources.nano_cpus);
        resources.memory_bytes = limits.number("memory").or(resources.memory_bytes);
        resources.pids_max = limits.number("pids").or(resources.pids_max);
    }
    if let Some(mut reservations) = declared.section("reservations") {
        let memory = reservations.number("memory");
        resources.memory_reservation_bytes = memory.or(resources.memory_reservation_bytes);
        // Both are for who places containers on a cluster; the loader has warned.
        reservations.ignore("cpus");
        reservations.ignore("generic_resources");
        let devices = reservations.sections("devices").into_iter();
        requests.extend(devices.map(|device| device_request(device, &[])));
    }
    (resources, requests)
}

/// One request; `implied` are capabilities that the key itself stands for. One that neither counts
/// nor names devices means all of them.
fn device_request(mut section: Section<'_>, implied: &[&str]) -> DeviceRequest {
    let count: Option<i64> = section.number("count");
    let device_ids = section.set("device_ids");
    if count.is_some() && !device_ids.is_empty() {
        section.refuse("count", "`count` and `device_ids` exclude each other");
    }
    let mut capabilities = section.set("capabilities");
    capabilities.extend(implied.iter().map(|name| (*name).to_owned()));
    DeviceRequest {
        driver: section.text("driver"),
        count: count.unwrap_or(if device_ids.is_empty() { -1 } else { 0 }),
        device_ids,
        capabilities: [capabilities].into(),
        options: section.labels("options"),
    }
}

/// Thousand-millionths of a CPU out of a decimal number. Computed on the digits, because the
/// nearest float to `0.1` is not a tenth.
fn nano_cpus(text: &str) -> Option<i64> {
    const NANO_DIGITS: usize = 9;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let kept = &fraction[..fraction.len().min(NANO_DIGITS)];
    format!("{whole}{kept:0<NANO_DIGITS$}").parse().ok()
}

fn ulimits(section: &mut Section<'_>) -> BTreeMap<String, Ulimit> {
    let mut ulimits = BTreeMap::new();
    for (name, node) in section.entries("ulimits") {
        let single = node.as_scalar().and_then(|scalar| scalar.text.parse().ok());
        let limit = match single {
            Some(both) => Some(Ulimit { soft: both, hard: both }),
            None => section.open("ulimits", name, node).and_then(|mut limits| {
                Some(Ulimit { soft: limits.number("soft")?, hard: limits.number("hard")? })
            }),
        };
        ulimits.extend(limit.map(|limit| (name.to_owned(), limit)));
    }
    ulimits
}

fn blkio(mut section: Section<'_>) -> BlkioLimits {
    BlkioLimits {
        weight: section.number("weight"),
        weight_device: by_path(&mut section, "weight_device", "weight"),
        read_bps: by_path(&mut section, "device_read_bps", "rate"),
        read_iops: by_path(&mut section, "device_read_iops", "rate"),
        write_bps: by_path(&mut section, "device_write_bps", "rate"),
        write_iops: by_path(&mut section, "device_write_iops", "rate"),
    }
}

fn by_path<T: std::str::FromStr>(
    section: &mut Section<'_>,
    list: &str,
    value: &str,
) -> BTreeMap<String, T> {
    let pair = |mut item: Section<'_>| {
        let path = item.text("path");
        Some((path?, item.number(value)?))
    };
    section.sections(list).into_iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::nano_cpus;

    #[test]
    fn fractions_of_a_cpu_are_exact() {
        let check = |text: &str, expect| assert_eq!(nano_cpus(text), expect, "{text}");
        check("0.1", Some(100_000_000));
        check("1.5", Some(1_500_000_000));
        check("2", Some(2_000_000_000));
        check("0.0000000019", Some(1));
        check("x", None);
    }
}
