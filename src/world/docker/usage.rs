//! Reads what a container uses. Owns the translation of the engine's statistics. Face: `usage`. Never
//! follows a stream: one reading is one call.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::{ContainerBlkioStatEntry, ContainerCpuStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use futures_util::StreamExt as _;

use super::failure::absent;
use super::request::segment;
use super::session::{Connection, Session};
use super::{EngineError, Reading};
use crate::base::limits::ENGINE_USAGE_TIMEOUT;
use crate::facts::ContainerUsage;

/// What a container uses; none when it is gone or does not run.
pub(super) async fn usage(
    connection: &Connection,
    id: &str,
    reading: Reading,
) -> Result<Option<ContainerUsage>, EngineError> {
    let attempt = "read what a container uses";
    let id = segment(attempt, id)?;
    let call = |session: Arc<Session>| async move {
        let one_shot = reading == Reading::Totals;
        let options = StatsOptions { stream: false, one_shot };
        let mut reports = Box::pin(session.docker.stats(id, Some(options)));
        absent(reports.next().await.transpose()).map(Option::flatten)
    };
    let report = connection.once(attempt, ENGINE_USAGE_TIMEOUT, call).await?;
    Ok(report.as_ref().and_then(|report| translate(report, reading)))
}

/// A container that does not run has no statistics, only empty ones.
fn translate(report: &ContainerStatsResponse, reading: Reading) -> Option<ContainerUsage> {
    let cpu = report.cpu_stats.as_ref()?;
    let memory = report.memory_stats.as_ref()?;
    let used = memory.usage?;
    // What the kernel could take back at once is not used, as `docker stats` counts too.
    let details = memory.stats.as_ref();
    let cache = details.and_then(|stats| {
        stats.get("inactive_file").or_else(|| stats.get("total_inactive_file")).copied()
    });
    let networks = report.networks.iter().flat_map(HashMap::values);
    let (received, sent) = networks.fold((0, 0), |(received, sent), found| {
        (received + found.rx_bytes.unwrap_or(0), sent + found.tx_bytes.unwrap_or(0))
    });
    let blocks = report.blkio_stats.as_ref();
    let blocks = blocks.and_then(|stats| stats.io_service_bytes_recursive.as_deref());
    let pids = report.pids_stats.as_ref();
    Some(ContainerUsage {
        cpu_nanos_total: cpu.cpu_usage.as_ref().and_then(|usage| usage.total_usage).unwrap_or(0),
        cpu_thousandths: match reading {
            Reading::Totals => None,
            Reading::Rates => thousandths(report.precpu_stats.as_ref(), cpu),
        },
        memory_bytes: used.saturating_sub(cache.unwrap_or(0)),
        memory_limit_bytes: memory.limit.filter(|limit| *limit > 0),
        pids: pids.and_then(|pids| pids.current).unwrap_or(0),
        received_bytes_total: received,
        sent_bytes_total: sent,
        read_bytes_total: blocks_of(blocks, "read"),
        written_bytes_total: blocks_of(blocks, "write"),
    })
}

fn blocks_of(entries: Option<&[ContainerBlkioStatEntry]>, op: &str) -> u64 {
    let entries = entries.unwrap_or_default().iter();
    let of_op = entries
        .filter(|entry| entry.op.as_ref().is_some_and(|found| found.eq_ignore_ascii_case(op)));
    of_op.filter_map(|entry| entry.value).sum()
}

/// Thousandths of one CPU that were used between two readings: its share of what all CPUs did.
fn thousandths(before: Option<&ContainerCpuStats>, now: &ContainerCpuStats) -> Option<u64> {
    let used = |stats: &ContainerCpuStats| stats.cpu_usage.as_ref()?.total_usage;
    let before = before?;
    let used = used(now)?.checked_sub(used(before)?)?;
    let passed = now.system_cpu_usage?.checked_sub(before.system_cpu_usage?)?;
    let cpus = u128::from(now.online_cpus.unwrap_or(1).max(1));
    let share = (u128::from(used) * cpus * 1000).checked_div(u128::from(passed))?;
    u64::try_from(share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> ContainerStatsResponse {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn statistics_of_a_running_container_are_read() {
        let found = report(
            r#"{"cpu_stats": {"cpu_usage": {"total_usage": 1500}, "system_cpu_usage": 20000,
                "online_cpus": 2},
              "precpu_stats": {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 18000},
              "memory_stats": {"usage": 5000, "limit": 9000, "stats": {"inactive_file": 1000}},
              "pids_stats": {"current": 3},
              "networks": {"eth0": {"rx_bytes": 7, "tx_bytes": 8}, "eth1": {"rx_bytes": 1}},
              "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 10},
                {"op": "read", "value": 1}, {"op": "Write", "value": 20}]}}"#,
        );
        let expect = ContainerUsage {
            cpu_nanos_total: 1500,
            cpu_thousandths: Some(500),
            memory_bytes: 4000,
            memory_limit_bytes: Some(9000),
            pids: 3,
            received_bytes_total: 8,
            sent_bytes_total: 8,
            read_bytes_total: 11,
            written_bytes_total: 20,
        };
        assert_eq!(translate(&found, Reading::Rates), Some(expect.clone()));
        let totals = ContainerUsage { cpu_thousandths: None, ..expect };
        assert_eq!(translate(&found, Reading::Totals), Some(totals));
    }

    #[test]
    fn a_container_that_does_not_run_uses_nothing_that_could_be_told() {
        let found =
            report(r#"{"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}"#);
        assert_eq!(translate(&found, Reading::Totals), None);
    }
}
