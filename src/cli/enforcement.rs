//! The verbs of enforcement: `enforcement …`, `quarantine …` and `maintenance …`. Owns their text. Face:
//! the three functions. Never decides what is done: it asks the agent.

use super::client::{Client, encode};
use super::exit::{CliError, Exit};
use super::grammar::{EnforcementVerb, MaintenanceVerb, QuarantineVerb};
use super::output::{Output, Table, ago};
use super::projects::finish;
use crate::api::wire::{
    EnforcementPlanView, EnforcementView, MaintenanceBegin, MaintenanceEnd, MaintenanceView, Page,
    QuarantineAsk, ReleaseAsk, SwitchPut, SwitchView, TreatedView,
};
use crate::base::Clock as _;
use crate::world::clock::SystemClock;

/// `wharf enforcement …`.
pub(super) async fn enforcement(
    client: &Client,
    verb: EnforcementVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        EnforcementVerb::Status => status(client, output).await,
        EnforcementVerb::Off(why) => switch(client, true, why.reason, output).await,
        EnforcementVerb::On(why) => switch(client, false, why.reason, output).await,
        EnforcementVerb::Plan { container } => plan(client, &container, output).await,
    }
}

async fn status(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let view: EnforcementView = client.get("/v1/enforcement").await?;
    if output.is_json() {
        output.json(&view)?;
        return Ok(Exit::Success);
    }
    let state = match (&view.switch, view.is_enabled) {
        (_, false) => "disabled by the configuration".to_owned(),
        (Some(switch), _) if switch.is_off => {
            let since = ago(Some(switch.at), SystemClock.now());
            format!("switched off by {} {since}: {}", switch.by, switch.reason)
        }
        _ => "on".to_owned(),
    };
    output.line(format!("enforcement is {state}"))?;
    let (recent, most, window) = (view.recent_actions, view.actions_max, view.window_seconds);
    output.line(format!("{recent} of {most} actions within {window} seconds"))?;
    let unmanaged = match view.unmanaged.is_empty() {
        true => "never touched".to_owned(),
        false => format!("dealt with by {}", view.unmanaged.join(", ")),
    };
    output.line(format!("containers that nobody manages are {unmanaged}"))?;
    output.line(format!("{} containers were dealt with", view.containers))?;
    Ok(Exit::Success)
}

async fn switch(
    client: &Client,
    is_off: bool,
    reason: String,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let put = SwitchPut { is_off, reason };
    let view: SwitchView = client.replace("/v1/enforcement/switch", &put).await?;
    if output.is_json() {
        output.json(&view)?;
    } else {
        output
            .line(format!("enforcement is switched {}", if view.is_off { "off" } else { "on" }))?;
    }
    Ok(Exit::Success)
}

async fn plan(client: &Client, container: &str, output: &mut Output) -> Result<Exit, CliError> {
    let path = format!("/v1/enforcement/plan?container={}", encode(container));
    let view: EnforcementPlanView = client.get(&path).await?;
    if output.is_json() {
        output.json(&view)?;
        return Ok(Exit::Success);
    }
    for wrong in &view.wrongs {
        let policies = wrong.policies.join(", ");
        output.line(format!("{}: {} ({policies}: {})", wrong.code, wrong.message, wrong.action))?;
    }
    match (&view.rung, &view.left_because) {
        (Some(rung), _) => output.line(format!("{}: {rung}", view.name))?,
        (None, Some(why)) => output.line(format!("{}: nothing is done: {why}", view.name))?,
        (None, None) => {}
    }
    for step in &view.steps {
        let undo = step.undo.as_deref().map(|undo| format!("; undone: {undo}"));
        output.line(format!("  {}{}", step.description, undo.unwrap_or_default()))?;
    }
    Ok(Exit::Success)
}

/// `wharf quarantine …`.
pub(super) async fn quarantine(
    client: &Client,
    verb: QuarantineVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        QuarantineVerb::Ls => list(client, output).await,
        QuarantineVerb::Add(word) => {
            let ask = QuarantineAsk { container: word.container, reason: word.why.reason };
            let accepted = client.post("/v1/enforcement/quarantine", &ask).await?;
            finish(client, accepted, word.detach, output).await
        }
        QuarantineVerb::Release(release) => {
            let ask = ReleaseAsk {
                container: release.word.container,
                reason: release.word.why.reason,
                grace_seconds: Some(release.grace.as_secs()),
            };
            let accepted = client.post("/v1/enforcement/release", &ask).await?;
            finish(client, accepted, release.word.detach, output).await
        }
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let page: Page<TreatedView> = client.get("/v1/enforcement/containers").await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["CONTAINER", "PROJECT", "DONE", "STATE", "SINCE", "BY", "WHY"]);
    for treated in &page.items {
        table.row([
            treated.name.clone(),
            treated.project.clone().unwrap_or_else(|| "-".to_owned()),
            treated.rung.to_string(),
            treated.state.to_string(),
            ago(Some(treated.since), now),
            treated.by.clone(),
            treated.reason.clone(),
        ]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

/// `wharf maintenance …`.
pub(super) async fn maintenance(
    client: &Client,
    verb: MaintenanceVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        MaintenanceVerb::Ls => {
            let page: Page<MaintenanceView> = client.get("/v1/enforcement/maintenance").await?;
            if output.is_json() {
                output.json(&page)?;
                return Ok(Exit::Success);
            }
            let mut table = Table::new(&["PLACE", "BY", "UNTIL", "WHY"]);
            for view in &page.items {
                let until = format!("{:.0}", view.ends_at);
                table.row([place(view), view.by.clone(), until, view.reason.clone()]);
            }
            output.text(&table.render())?;
            Ok(Exit::Success)
        }
        MaintenanceVerb::Begin(begin) => {
            let body = MaintenanceBegin {
                project: begin.place.project,
                reason: begin.why.reason,
                seconds: begin.lasts.as_secs(),
            };
            let view: MaintenanceView = client.post("/v1/enforcement/maintenance", &body).await?;
            if output.is_json() {
                output.json(&view)?;
            } else {
                let (place, ends_at) = (place(&view), view.ends_at);
                output.line(format!("nothing is enforced on {place} until {ends_at:.0}"))?;
            }
            Ok(Exit::Success)
        }
        MaintenanceVerb::End(place) => {
            let body = MaintenanceEnd { project: place.project };
            client.post_empty("/v1/enforcement/maintenance/end", &body).await?;
            if output.is_json() {
                output.json(&body)?;
            } else {
                output.line("maintenance ended")?;
            }
            Ok(Exit::Success)
        }
    }
}

fn place(view: &MaintenanceView) -> String {
    view.project.as_ref().map_or_else(|| "host".to_owned(), |name| format!("project {name}"))
}
