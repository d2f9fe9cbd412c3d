//! The verbs of findings: `findings …`. Owns their text. Face: `findings`. Never decides: the agent does.

use super::client::{Client, encode};
use super::exit::{CliError, Exit};
use super::grammar::{ComplianceShow, FindingLs, FindingNote, FindingVerb, Part};
use super::output::{Output, Table, ago};
use super::records::more;
use crate::api::wire::{
    ComplianceCounts, ComplianceView, ExceptionAsk, ExceptionDecision, ExceptionRevoke,
    ExceptionView, FindingAct, FindingAssign, FindingDetail, FindingView, Page, PersonView,
};
use crate::base::{Clock as _, Timestamp};
use crate::domain::findings::Verb;
use crate::world::clock::SystemClock;

/// `wharf findings …`.
pub(super) async fn findings(
    client: &Client,
    verb: FindingVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        FindingVerb::Ls(options) => list(client, *options, output).await,
        FindingVerb::Show { id } => {
            let finding: FindingDetail = client.get(&path(&id, "")).await?;
            shown(&finding, output)
        }
        FindingVerb::Triage(note) => act(client, Verb::Triage, note, output).await,
        FindingVerb::Start(note) => act(client, Verb::Start, note, output).await,
        FindingVerb::Resolve(note) => act(client, Verb::Resolve, note, output).await,
        FindingVerb::Reopen(note) => act(client, Verb::Reopen, note, output).await,
        FindingVerb::Close { id, reason } => {
            act(client, Verb::Close, FindingNote { id, reason: Some(reason) }, output).await
        }
        FindingVerb::Assign { id, user, nobody: _ } => {
            let body = FindingAssign { assignee: user };
            let finding: FindingDetail = client.post(&path(&id, "/assignee"), &body).await?;
            done(&finding, output)
        }
        FindingVerb::Accept { id, reason, until } => {
            let body = ExceptionAsk { reason, expires_at: moment(&until)? };
            let asked: ExceptionView = client.post(&path(&id, "/exceptions"), &body).await?;
            if output.is_json() {
                output.json(&asked)?;
            } else {
                let hint = format!("another person approves it with `wharf findings approve {id}`");
                output.line(format!("exception {} is {}; {hint}", asked.id, asked.status))?;
            }
            Ok(Exit::Success)
        }
        FindingVerb::Approve(note) => decide(client, true, note, output).await,
        FindingVerb::Reject(note) => decide(client, false, note, output).await,
        FindingVerb::Revoke(FindingNote { id, reason }) => {
            let place = path(&id, "/exceptions/open/revoke");
            let finding: FindingDetail = client.post(&place, &ExceptionRevoke { reason }).await?;
            done(&finding, output)
        }
        FindingVerb::Compliance(options) => compliance(client, options, output).await,
    }
}

fn path(id: &str, rest: &str) -> String {
    format!("/v1/findings/{}{rest}", encode(id))
}

async fn act(
    client: &Client,
    verb: Verb,
    note: FindingNote,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let FindingNote { id, reason } = note;
    let body = FindingAct { verb, reason };
    let finding: FindingDetail = client.post(&path(&id, "/status"), &body).await?;
    done(&finding, output)
}

async fn decide(
    client: &Client,
    is_approved: bool,
    note: FindingNote,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let FindingNote { id, reason } = note;
    let place = path(&id, "/exceptions/open/decision");
    let body = ExceptionDecision { is_approved, reason };
    let finding: FindingDetail = client.post(&place, &body).await?;
    done(&finding, output)
}

fn done(finding: &FindingDetail, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(finding)?;
        return Ok(Exit::Success);
    }
    let row = &finding.finding;
    let given = row.assignee.as_ref().map(|it| format!(", given to {}", person(it)));
    let given = given.unwrap_or_default();
    output.line(format!("finding {} is {}{given}", row.id, row.status))?;
    Ok(Exit::Success)
}

/// A moment: a day, which ends with its end in UTC, or a time.
fn moment(text: &str) -> Result<Timestamp, CliError> {
    let day = || -> Option<Timestamp> {
        let date: jiff::civil::Date = text.parse().ok()?;
        let next = date.tomorrow().ok()?;
        Some(next.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let is_day = text.len() == "2027-01-31".len();
    let moment = if is_day { day() } else { text.parse().ok() };
    moment.ok_or_else(|| {
        CliError::new(Exit::Usage, format!("--until: `{text}` is no time"))
            .hint("write `2027-01-31`, or `2027-01-31T12:00:00Z`")
    })
}

async fn list(client: &Client, options: FindingLs, output: &mut Output) -> Result<Exit, CliError> {
    let Part { limit, after } = options.part;
    let open = || Some("open".to_owned());
    let query = [
        ("status", if options.all { None } else { options.status.or_else(open) }),
        ("severity", options.severity),
        ("type", options.finding_type),
        ("policy", options.policy),
        ("check", options.check),
        ("project", options.project),
        ("subject", options.subject),
        ("assignee", options.assignee),
        ("overdue", options.overdue.then(|| "true".to_owned())),
        ("search", options.search),
        ("limit", Some(limit.to_string())),
        ("after", after),
    ];
    let page: Page<FindingView> = client.find("/v1/findings", &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["ID", "SEVERITY", "STATUS", "SUBJECT", "CHECK", "SEEN", "DUE"]);
    for finding in &page.items {
        table.row([
            finding.id.clone(),
            finding.severity.to_string(),
            finding.status.to_string(),
            finding.subject.clone(),
            finding.check_id.clone().unwrap_or_else(|| finding.finding_type.to_string()),
            ago(finding.last_seen_at, now),
            due(finding),
        ]);
    }
    output.text(&table.render())?;
    more(output, page.next.as_deref());
    Ok(Exit::Success)
}

fn due(finding: &FindingView) -> String {
    match finding.due_at {
        None => "-".to_owned(),
        Some(_) if finding.is_overdue => "overdue".to_owned(),
        Some(at) => at.strftime("%Y-%m-%d").to_string(),
    }
}

fn shown(finding: &FindingDetail, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(finding)?;
        return Ok(Exit::Success);
    }
    output.text(&text(finding))?;
    Ok(Exit::Success)
}

fn person(person: &PersonView) -> &str {
    person.name.as_deref().unwrap_or(&person.id)
}

/// A finding for people.
fn text(detail: &FindingDetail) -> String {
    let row = &detail.finding;
    let mut text = format!("finding {}\n", row.id);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<11}{value}\n"));
        }
    };
    fact("what", row.title.clone());
    fact("found", row.message.clone());
    fact("subject", row.subject.clone());
    fact("place", row.place.clone().unwrap_or_default());
    fact("check", row.check_id.clone().unwrap_or_else(|| row.finding_type.to_string()));
    fact("policies", row.policies.join(", "));
    fact("severity", row.severity.to_string());
    fact("status", row.status.to_string());
    fact("assignee", row.assignee.as_ref().map(person).unwrap_or_default().to_owned());
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    fact("first seen", time(row.first_seen_at));
    let times = row.times_seen.map(|times| format!(", {times} times")).unwrap_or_default();
    fact("last seen", format!("{}{times}", time(row.last_seen_at)));
    if row.reopen_count > 0 {
        fact("came back", format!("{} times", row.reopen_count));
    }
    let late = if row.is_overdue { " (overdue)" } else { "" };
    fact("due", row.due_at.map(|at| format!("{at}{late}")).unwrap_or_default());
    fact("resolved", time(detail.resolved_at));
    fact("closed", time(detail.closed_at));
    fact("merged into", detail.merged_into.clone().unwrap_or_default());
    fact("do", detail.remediation.clone());
    let possible: Vec<&str> = detail.possible.iter().map(|verb| verb.key()).collect();
    fact("possible", possible.join(", "));
    for exception in &detail.exceptions {
        let by = exception.approver.as_ref().map(|it| format!(" by {}", person(it)));
        let owner = person(&exception.owner);
        let (status, until, why) = (exception.status, exception.expires_at, &exception.reason);
        let by = by.unwrap_or_default();
        fact("exception", format!("{status}{by} until {until}, asked by {owner}: {why}"));
    }
    for row in detail.history.iter().flatten() {
        fact(&row.occurred_at.strftime("%m-%d %H:%M").to_string(), row.summary.clone());
    }
    text
}

async fn compliance(
    client: &Client,
    options: ComplianceShow,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let query = [
        ("by", Some(options.by.clone())),
        ("policy", options.policy),
        ("project", options.project),
    ];
    let found: ComplianceView = client.find("/v1/compliance", &query).await?;
    if output.is_json() {
        output.json(&found)?;
        return Ok(Exit::Success);
    }
    let heading = found.by.to_uppercase();
    let mut table =
        Table::new(&[&heading, "JUDGED", "PASSING", "FAILING", "EXCEPTED", "UNKNOWN", "PERCENT"]);
    let mut row = |name: &str, counts: &ComplianceCounts| {
        let percent = counts.percent.map_or_else(|| "-".to_owned(), |it| format!("{it:.2}"));
        table.row([
            name.to_owned(),
            counts.judged.to_string(),
            counts.passing.to_string(),
            counts.failing.to_string(),
            counts.excepted.to_string(),
            counts.unknown.to_string(),
            percent,
        ]);
    };
    found.items.iter().for_each(|item| row(&item.name, &item.counts));
    row("all", &found.total);
    output.text(&table.render())?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_with_its_end_and_what_is_no_time_is_refused() {
        let time = |text: &str| moment(text).map(|at| at.to_string()).ok();
        assert_eq!(time("2027-01-31").as_deref(), Some("2027-02-01T00:00:00Z"));
        assert_eq!(time("2027-01-31T12:00:00Z").as_deref(), Some("2027-01-31T12:00:00Z"));
        for text in ["", "soon", "2027-13-01", "2027-01-31 12:00"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
