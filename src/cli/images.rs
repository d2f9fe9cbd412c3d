//! The verbs on images: `images`, `pull` and `build`. Owns what is sent and what is printed. Face: the functions.
//! Never sends files when the project is named instead.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::Client;
use super::exit::{CliError, Exit};
use super::grammar::{self, Files, PullWhen};
use super::output::{Output, Table, ago};
use super::projects::{bundle_of, finish, send_contexts};
use super::records;
use super::scans;
use crate::api::wire::{self, ImageEnd, ImageView, Page, RunAccepted, RunDetail, RunView};
use crate::base::Clock as _;
use crate::domain::compose::Bundle;
use crate::domain::runs::{Outcome, Status};
use crate::world::clock::SystemClock;

/// `wharf images`: of one project, or of all when neither the command line nor the folder names one.
pub(super) async fn images(
    client: &Client,
    words: grammar::Images,
    output: &mut Output,
) -> Result<Exit, CliError> {
    if let Some(verb) = words.verb {
        return scans::scans(client, verb, output).await;
    }
    let project = words.files.name_if_any()?;
    if words.check {
        let check = wire::ImageCheck { project: project.clone() };
        let accepted: RunAccepted = client.post("/v1/images/check", &check).await?;
        let run = settled(client, &accepted.run.id).await?;
        if run.outcome != Outcome::Succeeded {
            return records::end(client, run, output).await;
        }
    }
    let query = [("project", project), ("state", words.outdated.then(|| "outdated".to_owned()))];
    let page: Page<ImageView> = client.find("/v1/images", &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table =
        Table::new(&["INSTANCE", "IMAGE", "RUNS", "HERE", "REGISTRY", "ASKED", "STATE"]);
    let digest = |digest: &Option<String>| digest.as_deref().map_or("-", short).to_owned();
    for image in &page.items {
        table.row([
            format!("{}/{}/{}", image.project, image.service, image.number),
            image.image.clone(),
            digest(&image.runs_digest),
            digest(&image.local_digest),
            digest(&image.registry_digest),
            ago(image.asked_at, now),
            image.state.replace('_', " "),
        ]);
    }
    output.text(&table.render())?;
    let reasons: BTreeSet<(&str, &str)> = page
        .items
        .iter()
        .filter_map(|image| Some((image.image.as_str(), image.why.as_deref()?)))
        .collect();
    for (image, why) in reasons {
        output.note(format!("{image}: {why}"));
    }
    Ok(Exit::Success)
}

/// Waits for the end of a run, without a word.
pub(super) async fn settled(client: &Client, id: &str) -> Result<RunView, CliError> {
    const PAUSE: Duration = Duration::from_millis(200);
    loop {
        let detail: RunDetail = client.get(&format!("/v1/runs/{id}")).await?;
        if detail.run.status == Status::Completed {
            return Ok(detail.run);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `wharf pull`.
pub(super) async fn pull(
    client: &Client,
    words: grammar::Pull,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let (name, bundle) = files_of(&words.files, &words.services, output)?;
    let pull = wire::Pull {
        bundle,
        services: words.services,
        include_deps: words.include_deps,
        include_buildable: words.include_buildable,
        missing_only: words.policy == PullWhen::Missing,
        ignore_failures: words.ignore_pull_failures,
    };
    let accepted: RunAccepted = client.post(&format!("/v1/projects/{name}/pull"), &pull).await?;
    finish(client, accepted, words.detach, output).await
}

/// `wharf build`.
pub(super) async fn build(
    client: &Client,
    words: grammar::Build,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let (name, bundle) = files_of(&words.files, &words.services, output)?;
    if let Some(bundle) = &bundle {
        send_contexts(client, bundle).await?;
    }
    let build = wire::Build {
        bundle,
        services: words.services,
        include_deps: words.with_dependencies,
        no_cache: words.no_cache,
        pull: words.pull,
    };
    let accepted: RunAccepted = client.post(&format!("/v1/projects/{name}/build"), &build).await?;
    finish(client, accepted, words.detach, output).await
}

/// The project's name, and its files unless it is the kept project of a name that is meant.
fn files_of(
    files: &Files,
    services: &[String],
    output: &mut Output,
) -> Result<(String, Option<Bundle>), CliError> {
    if files.project_name.is_some() && files.files.is_empty() {
        return Ok((files.name()?, None));
    }
    let (name, bundle, _) = bundle_of(files, (services, &[]), output)?;
    Ok((name, Some(bundle)))
}

/// `app:1: sha256:0123… → sha256:4567…`
pub(super) fn image_line(image: &ImageEnd) -> String {
    let name = &image.image;
    match (&image.before, &image.after) {
        (before, after) if before == after => match after {
            Some(after) => format!("  {name}: {} as before", short(after)),
            None => format!("  {name}: not on this host"),
        },
        (None, Some(after)) => format!("  {name}: {} is new", short(after)),
        (Some(before), Some(after)) => format!("  {name}: {} → {}", short(before), short(after)),
        (before, None) => {
            let before = before.as_deref().map(short).unwrap_or_default();
            format!("  {name}: {before} is gone")
        }
    }
}

/// A digest as people tell it from others.
pub(super) fn short(digest: &str) -> &str {
    const HASH_DIGITS: usize = 12;
    let start = digest.find(':').map_or(0, |colon| colon + 1);
    digest.get(start..start + HASH_DIGITS).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_an_image_is_one_line() {
        let digest = |letter: &str| Some(format!("sha256:{}", letter.repeat(64)));
        let check = |before, after, expect| {
            let (image, services) = ("app:1".to_owned(), Vec::new());
            assert_eq!(image_line(&ImageEnd { image, services, before, after }), expect);
        };
        check(None, digest("a"), "  app:1: aaaaaaaaaaaa is new");
        check(digest("a"), digest("b"), "  app:1: aaaaaaaaaaaa → bbbbbbbbbbbb");
        check(digest("a"), digest("a"), "  app:1: aaaaaaaaaaaa as before");
        check(digest("a"), None, "  app:1: aaaaaaaaaaaa is gone");
        check(None, None, "  app:1: not on this host");
        check(Some("short".to_owned()), None, "  app:1: short is gone");
    }
}
