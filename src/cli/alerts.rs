//! The verbs of alerts: `alert …`. Owns their text. Face: `alerts`. Never prints a secret: what a
//! receiver is told by goes to the agent and does not come back.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::client::{Client, encode};
use super::exit::{CliError, Exit};
use super::grammar::{AlertVerb, DeliveryLs, Part, ReceiverAdd, RuleAdd};
use super::output::{Output, Table, ago};
use super::records::more;
use super::schedules::seconds;
use crate::api::wire::{DeliveryView, Page, ReceiverPut, ReceiverView, RulePut, RuleView};
use crate::base::Clock as _;
use crate::domain::alerts::DeliveryStatus;
use crate::world::clock::SystemClock;

/// How long `alert test` waits for what comes of it.
const TEST_WAIT: Duration = Duration::from_secs(90);
/// How often it looks.
const TEST_LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Largest file of headers or keys, and longest address from standard input.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// `wharf alert …`.
pub(super) async fn alerts(
    client: &Client,
    verb: AlertVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        AlertVerb::Ls(options) => deliveries(client, options, output).await,
        AlertVerb::Show { id } => {
            let path = format!("/v1/alerts/deliveries/{}", encode(&id));
            let delivery: DeliveryView = client.get(&path).await?;
            shown(&delivery, output)
        }
        AlertVerb::Retry { id } => {
            let path = format!("/v1/alerts/deliveries/{}/retry", encode(&id));
            let delivery: DeliveryView = client.post(&path, &serde_json::json!({})).await?;
            shown(&delivery, output)
        }
        AlertVerb::Rules => rules(client, output).await,
        AlertVerb::AddRule(add) => add_rule(client, add, output).await,
        AlertVerb::RmRule { name } => {
            client.delete(&format!("/v1/alerts/rules/{}", encode(&name))).await?;
            removed("alert rule", &name, output)
        }
        AlertVerb::Receivers => receivers(client, output).await,
        AlertVerb::AddReceiver(add) => add_receiver(client, add, output).await,
        AlertVerb::RmReceiver { name } => {
            client.delete(&format!("/v1/alerts/receivers/{}", encode(&name))).await?;
            removed("alert receiver", &name, output)
        }
        AlertVerb::Test { name } => test(client, &name, output).await,
    }
}

fn removed(noun: &str, name: &str, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(&serde_json::json!({ "removed": name }))?;
    } else {
        output.line(format!("{noun} {name} is removed"))?;
    }
    Ok(Exit::Success)
}

async fn deliveries(
    client: &Client,
    options: DeliveryLs,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let DeliveryLs { status, receiver, run, part: Part { limit, after } } = options;
    let query = [
        ("status", status),
        ("receiver", receiver),
        ("run_id", run),
        ("limit", Some(limit.to_string())),
        ("after", after),
    ];
    let page: Page<DeliveryView> = client.find("/v1/alerts/deliveries", &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["ID", "EVENT", "SEVERITY", "RECEIVER", "STATUS", "TRIES", "AGE"]);
    for delivery in &page.items {
        table.row([
            delivery.id.clone(),
            delivery.event.to_string(),
            delivery.severity.to_string(),
            delivery.receiver.clone().unwrap_or_else(|| "-".to_owned()),
            delivery.status.to_string(),
            delivery.attempts.to_string(),
            ago(Some(delivery.occurred_at), now),
        ]);
    }
    output.text(&table.render())?;
    more(output, page.next.as_deref());
    Ok(Exit::Success)
}

fn shown(delivery: &DeliveryView, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(delivery)?;
        return Ok(Exit::Success);
    }
    output.text(&delivery_text(delivery))?;
    Ok(Exit::Success)
}

/// A delivery for people.
fn delivery_text(delivery: &DeliveryView) -> String {
    let mut text = format!("alert delivery {}\n", delivery.id);
    let mut fact = |name: &str, value: String| text.push_str(&format!("  {name:<11}{value}\n"));
    fact("event", format!("{}, {}", delivery.event, delivery.severity));
    fact("summary", delivery.summary.clone());
    if let Some(run_id) = &delivery.run_id {
        fact("run", run_id.clone());
    }
    fact("occurred", delivery.occurred_at.to_string());
    fact("receiver", delivery.receiver.clone().unwrap_or_else(|| "gone".to_owned()));
    fact("status", format!("{} after {} tries", delivery.status, delivery.attempts));
    if let Some(due_at) = delivery.due_at {
        fact("next try", due_at.to_string());
    }
    if let Some(ended_at) = delivery.ended_at {
        fact("ended", ended_at.to_string());
    }
    if let Some(error) = &delivery.error {
        fact("last error", error.clone());
    }
    text
}

async fn rules(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let page: Page<RuleView> = client.get("/v1/alerts/rules").await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["NAME", "EVENT", "TYPE", "SEVERITY", "TO", "ENABLED"]);
    for rule in &page.items {
        let put = &rule.put;
        table.row([
            rule.name.clone(),
            put.event.to_string(),
            put.run_type.to_string(),
            put.severity_min.to_string(),
            put.receivers.join(", "),
            if put.is_enabled { "yes" } else { "no" }.to_owned(),
        ]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::new(Exit::Usage, message)
}

async fn add_rule(client: &Client, add: RuleAdd, output: &mut Output) -> Result<Exit, CliError> {
    let tenant_id = add.tenant.as_deref().map(str::parse).transpose();
    let put = RulePut {
        event: add.event.parse().map_err(|error| usage(format!("--event: {error}")))?,
        run_type: add.run_type.parse().map_err(|error| usage(format!("--type: {error}")))?,
        tenant_id: tenant_id.map_err(|error| usage(format!("--tenant: {error}")))?,
        severity_min: add
            .severity
            .parse()
            .map_err(|error| usage(format!("--severity: {error}")))?,
        receivers: add.receivers,
        is_enabled: !add.disabled,
    };
    let path = format!("/v1/alerts/rules/{}", encode(&add.name));
    let rule: RuleView = client.replace(&path, &put).await?;
    if output.is_json() {
        output.json(&rule)?;
    } else {
        output.line(format!("alert rule {} is set", rule.name))?;
    }
    Ok(Exit::Success)
}

async fn receivers(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let page: Page<ReceiverView> = client.get("/v1/alerts/receivers").await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["NAME", "TARGET", "HEADERS", "SIGNED", "TIMEOUT"]);
    for receiver in &page.items {
        table.row([
            receiver.name.clone(),
            receiver.target.clone(),
            receiver.header_names.join(", "),
            if receiver.is_signed { "yes" } else { "no" }.to_owned(),
            format!("{}s", receiver.timeout_seconds),
        ]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

async fn add_receiver(
    client: &Client,
    add: ReceiverAdd,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let url = match add.url.as_str() {
        "-" => read_bounded(std::io::stdin().lock(), "standard input")?.trim().to_owned(),
        url => url.to_owned(),
    };
    let headers = match &add.headers_file {
        Some(file) => header_lines(&read_file(file)?)?,
        None => BTreeMap::new(),
    };
    let key = add.signing_key_file.as_deref().map(read_file).transpose()?;
    let put = ReceiverPut {
        url,
        headers,
        signing_key: key.map(|key| key.trim_end_matches(['\r', '\n']).to_owned()),
        timeout_seconds: seconds("timeout", &add.timeout)?,
    };
    let path = format!("/v1/alerts/receivers/{}", encode(&add.name));
    let receiver: ReceiverView = client.replace(&path, &put).await?;
    if output.is_json() {
        output.json(&receiver)?;
    } else {
        let try_it = format!("`wharf alert test {}` tries it out", receiver.name);
        let (name, target) = (&receiver.name, &receiver.target);
        output.line(format!("alert receiver {name} is set to {target}; {try_it}"))?;
    }
    Ok(Exit::Success)
}

fn read_file(file: &Path) -> Result<String, CliError> {
    let opened = std::fs::File::open(file);
    let opened = opened.map_err(|error| {
        CliError::new(Exit::SystemFile, format!("cannot read {}: {error}", file.display()))
    })?;
    read_bounded(opened, &file.display().to_string())
}

fn read_bounded(from: impl std::io::Read, name: &str) -> Result<String, CliError> {
    let failed = |error| CliError::new(Exit::SystemFile, format!("cannot read {name}: {error}"));
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// `Name: value`, one a line; empty lines and those that begin with `#` say nothing.
fn header_lines(text: &str) -> Result<BTreeMap<String, String>, CliError> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let wrong = || usage(format!("line {} of the headers is no `Name: value`", index + 1));
            let (name, value) = line.split_once(':').ok_or_else(wrong)?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

async fn test(client: &Client, name: &str, output: &mut Output) -> Result<Exit, CliError> {
    let path = format!("/v1/alerts/receivers/{}/test", encode(name));
    let sent: DeliveryView = client.post(&path, &serde_json::json!({})).await?;
    let path = format!("/v1/alerts/deliveries/{}", sent.id);
    let tried = async {
        loop {
            let delivery: DeliveryView = client.get(&path).await?;
            let failed = delivery.error.is_some();
            if failed || delivery.status != DeliveryStatus::Pending {
                return Ok::<_, CliError>(delivery);
            }
            tokio::time::sleep(TEST_LOOK_INTERVAL).await;
        }
    };
    let delivery = match tokio::time::timeout(TEST_WAIT, tried).await {
        Ok(tried) => tried?,
        Err(_) => sent,
    };
    shown(&delivery, output)?;
    match delivery.status {
        DeliveryStatus::Delivered => Ok(Exit::Success),
        _ => {
            Err(CliError::new(Exit::Unavailable, format!("alert receiver {name} did not take it"))
                .hint("it is tried again; `wharf alert show ID` tells what came of it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_line_by_line() {
        let read = header_lines("# ours\nX-Team: ops: night\n\nauthorization:Bearer x\n").unwrap();
        let expect = [("X-Team", "ops: night"), ("authorization", "Bearer x")];
        assert_eq!(read, expect.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let error = header_lines("a: b\nwrong\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
