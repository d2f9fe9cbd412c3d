//! The verbs on scans of images: `images scan`, `vulnerabilities`, `sbom` and `advisories`. Owns what is printed
//! of them. Face: `scans`. Never calls an image clean that nobody could read or match.

use super::client::Client;
use super::exit::{CliError, Exit};
use super::grammar::{ImagesScan, ImagesVerb, Severity, Vulnerabilities};
use super::images::{settled, short};
use super::output::{Output, Table, ago};
use super::projects::finish;
use super::records;
use crate::api::wire::{
    AdvisoriesView, ImageScanRequest, ImageScanView, ImageVulnerabilities, Page, RunAccepted,
    VulnerabilityView,
};
use crate::base::Clock as _;
use crate::domain::runs::Outcome;
use crate::world::clock::SystemClock;

/// The severities, the worst first.
const SEVERITIES: [&str; 6] = ["critical", "high", "medium", "low", "info", "unknown"];

/// `wharf images VERB`.
pub(super) async fn scans(
    client: &Client,
    verb: ImagesVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        ImagesVerb::Scan(words) => scan(client, words, output).await,
        ImagesVerb::Vulnerabilities(words) => vulnerabilities(client, words, output).await,
        ImagesVerb::Sbom { image } => {
            let query = [("image", Some(image))];
            let document: serde_json::Value = client.find("/v1/images/sbom", &query).await?;
            output.json(&document)?;
            Ok(Exit::Success)
        }
        ImagesVerb::Advisories { update } => advisories(client, update, output).await,
    }
}

async fn scan(client: &Client, words: ImagesScan, output: &mut Output) -> Result<Exit, CliError> {
    let request = ImageScanRequest { project: words.project, images: words.images };
    let accepted: RunAccepted = client.post("/v1/images/scan", &request).await?;
    finish(client, accepted, words.detach, output).await
}

async fn vulnerabilities(
    client: &Client,
    words: Vulnerabilities,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let Some(image) = words.image else { return all(client, words.fail_on, output).await };
    let query = [("image", Some(image))];
    let mut found: ImageVulnerabilities = client.find("/v1/images/vulnerabilities", &query).await?;
    let fails = words.fail_on.is_some_and(|least| exceeds(&found.scan, least));
    if let Some(least) = words.severity {
        found.vulnerabilities.retain(|it| is_as_severe(&it.severity, least));
    }
    if output.is_json() {
        output.json(&found)?;
    } else {
        list(&found, output)?;
        tell_age(&client.get("/v1/images/advisories").await?, output);
    }
    Ok(if fails { Exit::Failed } else { Exit::Success })
}

fn list(found: &ImageVulnerabilities, output: &mut Output) -> Result<(), CliError> {
    let mut table = Table::new(&["SEVERITY", "SCORE", "PACKAGE", "INSTALLED", "FIXED IN", "IDS"]);
    for it in &found.vulnerabilities {
        let ids: Vec<&str> =
            std::iter::once(&it.id).chain(&it.aliases).map(String::as_str).collect();
        table.row([
            it.severity.clone(),
            it.score.clone().unwrap_or_else(|| "-".to_owned()),
            it.package.clone(),
            it.installed.clone(),
            fixed(it),
            ids.join(", "),
        ]);
    }
    output.text(&table.render())?;
    let scan = &found.scan;
    let what = scan.names.first().map_or_else(|| short(&scan.image_id), String::as_str);
    let os = scan.os.as_deref().unwrap_or("no known distribution");
    output.note(format!("{what}: {os}, {} packages, {}", scan.packages, totals(scan)));
    warn(scan, output);
    Ok(())
}

fn fixed(found: &VulnerabilityView) -> String {
    match (&found.fixed, found.is_unclear) {
        (Some(fixed), _) => fixed.clone(),
        (None, true) => "? (version not understood)".to_owned(),
        (None, false) => "-".to_owned(),
    }
}

/// What is not known of an image, so that nobody takes it for clean.
fn warn(scan: &ImageScanView, output: &mut Output) {
    let what = scan.names.first().map_or_else(|| short(&scan.image_id), String::as_str);
    if !scan.is_matched {
        output.note(format!("{what}: it was matched with no advisories (`images.advisories`)"));
    }
    if scan.notes > 0 {
        let notes = scan.notes;
        output
            .note(format!("{what}: {notes} things were not read; `wharf images sbom` says which"));
    }
    if scan.left_out > 0 {
        output.note(format!("{what}: {} further ones are counted and not listed", scan.left_out));
    }
}

fn totals(scan: &ImageScanView) -> String {
    let counts = SEVERITIES.iter().filter_map(|severity| {
        scan.counts.get(*severity).map(|count| format!("{count} {severity}"))
    });
    let counts: Vec<String> = counts.collect();
    match counts.is_empty() {
        true => "no known vulnerability".to_owned(),
        false => counts.join(", "),
    }
}

/// How many each image has.
async fn all(
    client: &Client,
    fail_on: Option<Severity>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let page: Page<ImageScanView> = client.get("/v1/images/scans").await?;
    let fails = fail_on.is_some_and(|least| page.items.iter().any(|scan| exceeds(scan, least)));
    let end = if fails { Exit::Failed } else { Exit::Success };
    if output.is_json() {
        output.json(&page)?;
        return Ok(end);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&[
        "IMAGE", "ID", "OS", "PACKAGES", "CRITICAL", "HIGH", "MEDIUM", "LOW", "OTHER", "MATCHED",
    ]);
    for scan in &page.items {
        let count = |severity: &str| scan.counts.get(severity).copied().unwrap_or_default();
        table.row([
            scan.names.first().cloned().unwrap_or_else(|| "-".to_owned()),
            short(&scan.image_id).to_owned(),
            scan.os.clone().unwrap_or_else(|| "-".to_owned()),
            scan.packages.to_string(),
            count("critical").to_string(),
            count("high").to_string(),
            count("medium").to_string(),
            count("low").to_string(),
            (count("info") + count("unknown")).to_string(),
            if scan.is_matched { ago(Some(scan.matched_at), now) } else { "never".to_owned() },
        ]);
    }
    output.text(&table.render())?;
    page.items.iter().for_each(|scan| warn(scan, output));
    tell_age(&client.get("/v1/images/advisories").await?, output);
    if page.items.is_empty() {
        output.note("no image was scanned yet: `wharf images scan` does");
    }
    Ok(end)
}

/// Nobody knows how severe one without a severity is, so that it counts.
fn is_as_severe(severity: &str, least: Severity) -> bool {
    let known = match severity {
        "critical" => Severity::Critical,
        "high" => Severity::High,
        "medium" => Severity::Medium,
        "low" => Severity::Low,
        "info" => Severity::Info,
        _ => return true,
    };
    known >= least
}

fn exceeds(scan: &ImageScanView, least: Severity) -> bool {
    scan.counts.iter().any(|(severity, count)| *count > 0 && is_as_severe(severity, least))
}

async fn advisories(client: &Client, update: bool, output: &mut Output) -> Result<Exit, CliError> {
    if update {
        let path = "/v1/images/advisories/update";
        let accepted: RunAccepted = client.post(path, &serde_json::json!({})).await?;
        let run = settled(client, &accepted.run.id).await?;
        if run.outcome != Outcome::Succeeded {
            return records::end(client, run, output).await;
        }
    }
    let view: AdvisoriesView = client.get("/v1/images/advisories").await?;
    if output.is_json() {
        output.json(&view)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let Some(source) = &view.source else {
        output.line("no advisories are configured: `images.advisories` names their source")?;
        return Ok(Exit::Success);
    };
    let mut table =
        Table::new(&["SOURCE", "ADVISORIES", "ENTRIES", "NEWEST", "TAKEN", "LOOKED AT"]);
    table.row([
        source.clone(),
        view.advisories.to_string(),
        view.entries.to_string(),
        ago(view.newest, now),
        ago(view.compiled_at, now),
        ago(view.checked_at, now),
    ]);
    output.text(&table.render())?;
    if let Some(from) = view.came_from.as_ref().filter(|from| *from != source) {
        output.note(format!("those in force came from {from}: nobody has read the source yet"));
    }
    if view.not_read > 0 {
        output.note(format!("{} records of the source are no advisories", view.not_read));
    }
    tell_age(&view, output);
    Ok(Exit::Success)
}

/// What advisories do not know yet, so that nobody takes an old list's silence for safety.
fn tell_age(view: &AdvisoriesView, output: &mut Output) {
    let now = SystemClock.now();
    let update = "`wharf images advisories --update` does";
    if view.is_old {
        output.note(match view.checked_at {
            None => format!("no advisories were read yet: {update}"),
            at => format!("the source of advisories was looked at {}: {update}", ago(at, now)),
        });
    }
    if view.is_stale {
        let newest = ago(view.newest, now);
        output.note(format!("the newest advisory changed {newest}: see what fills their source"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_severity_counts_as_severe_as_can_be() {
        assert!(is_as_severe("unknown", Severity::Critical));
        assert!(is_as_severe("high", Severity::High) && is_as_severe("critical", Severity::High));
        assert!(!is_as_severe("medium", Severity::High));
        assert!(is_as_severe("info", Severity::Info));
    }
}
