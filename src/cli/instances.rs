//! The verb `instances`: the containers of a project's services with what they use. Owns its table.
//! Face: `instances`. Never counts anything itself.

use super::client::Client;
use super::exit::{CliError, Exit};
use super::grammar::Instances;
use super::output::{Output, Table, ago};
use super::projects::state_words;
use crate::api::wire::{InstanceView, Page};
use crate::base::Clock as _;
use crate::world::clock::SystemClock;

/// `wharf instances`.
pub(super) async fn instances(
    client: &Client,
    words: Instances,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let name = words.files.name()?;
    let services = (!words.services.is_empty()).then(|| words.services.join(","));
    let usage = Some((!words.no_usage).to_string());
    let query = [("service", services), ("usage", usage)];
    let page: Page<InstanceView> =
        client.find(&format!("/v1/projects/{name}/instances"), &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&[
        "SERVICE",
        "STATE",
        "SINCE",
        "RESTARTS",
        "CPU",
        "MEMORY",
        "PIDS",
        "ADDRESSES",
        "LOGS",
    ]);
    for instance in &page.items {
        table.row([
            format!("{}/{}", instance.service, instance.number),
            state(instance),
            ago(instance.started_at, now),
            restarts(instance),
            cpu(instance),
            memory(instance),
            pids(instance),
            addresses(instance),
            instance.log_driver.clone().unwrap_or_else(|| "default".to_owned()),
        ]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

fn state(instance: &InstanceView) -> String {
    let mut words = state_words(instance.state, instance.health, instance.exit_code);
    if instance.oom_killed {
        words.push_str(", out of memory");
    }
    if instance.held_back.is_some() {
        words.push_str(", held back");
    }
    words
}

fn restarts(instance: &InstanceView) -> String {
    format!("{} ({})", instance.restarts, instance.restart_policy)
}

/// Thousandths of a CPU as a number of CPUs.
fn cpus(thousandths: u64) -> String {
    format!("{}.{:02}", thousandths / 1000, thousandths % 1000 / 10)
}

fn used_of(used: Option<String>, limit: Option<String>) -> String {
    let used = used.unwrap_or_else(|| "-".to_owned());
    match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used,
    }
}

fn cpu(instance: &InstanceView) -> String {
    let used = instance.usage.as_ref().and_then(|usage| usage.cpu_thousandths);
    used_of(used.map(cpus), instance.limits.cpu_thousandths.map(cpus))
}

fn memory(instance: &InstanceView) -> String {
    let used = instance.usage.as_ref().map(|usage| mib(usage.memory_bytes));
    used_of(used, instance.limits.memory_bytes.map(mib))
}

fn mib(bytes: u64) -> String {
    format!("{}.{}M", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

fn pids(instance: &InstanceView) -> String {
    let used = instance.usage.as_ref().map(|usage| usage.pids.to_string());
    used_of(used, instance.limits.pids.map(|limit| limit.to_string()))
}

fn addresses(instance: &InstanceView) -> String {
    let inside = instance.endpoints.networks.values().filter_map(|found| found.ipv4.clone());
    let all: Vec<String> = inside.chain(instance.endpoints.ports.iter().cloned()).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_say_their_limit() {
        assert_eq!((cpus(0), cpus(1250), cpus(35)), ("0.00".into(), "1.25".into(), "0.03".into()));
        assert_eq!(
            (mib(0), mib(3 << 19), mib(64 << 20)),
            ("0.0M".into(), "1.5M".into(), "64.0M".into())
        );
        assert_eq!(used_of(Some("1".into()), Some("2".into())), "1 of 2");
        assert_eq!(used_of(None, Some("2".into())), "- of 2");
        assert_eq!(used_of(Some("1".into()), None), "1");
    }
}
