//! Scans images: reads their packages and matches them with advisories. Owns which images have to be read
//! again, and what is kept of them. Face: `ScanImages`, `UpdateAdvisories`. Never reads an image twice that did
//! not change, and never takes a list that cannot be had for one without advisories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::findings::Findings;
use super::rollout::{PreviewError, Rollout, failures_of};
use super::scan_findings::{Seen, looks};
use super::{
    Operation, RunContext, RunEnd, Step, StepError, Stop, count, store_failure, wrong_inputs,
};
use crate::base::ids::WorkspaceId;
use crate::base::limits::{IMAGES_SCANNED_MAX, SCAN_RUN_BYTES_MAX};
use crate::base::{Timestamp, chain};
use crate::domain::advisories::{Vulnerability, entry_keys, vulnerabilities};
use crate::domain::runs::{CountKey, End, Failure, Inputs, ReasonCode, Undo};
use crate::domain::sbom::{Inventory, Reading};
use crate::domain::scans::{self, ImageScan, PackError, READERS, Summary};
use crate::facts::ImageFacts;
use crate::store::{ScanRow, ScanWrite, StoreError, Write};
use crate::world::advisories::{Advisories, AdvisoryError, Head, Updated};
use crate::world::docker::EngineError;
use crate::world::image_archive::{self, ArchiveError};

/// The operation that scans.
pub struct ScanImages {
    rollout: Rollout,
    advisories: Arc<Advisories>,
}

/// The operation that looks for newer advisories.
pub struct UpdateAdvisories {
    advisories: Arc<Advisories>,
}

/// Why an image was not scanned.
#[derive(Debug, thiserror::Error)]
enum ScanError {
    #[error(transparent)]
    Archive(ArchiveError),
    #[error(transparent)]
    Advisories(AdvisoryError),
    #[error("what was found cannot be kept")]
    Pack(#[source] PackError),
    #[error("the scan was told to stop")]
    Stopped,
}

impl ScanError {
    fn failure(&self, target: &Target) -> Failure {
        let code = match self {
            Self::Advisories(_) => ReasonCode::AdvisoriesUnavailable,
            Self::Archive(_) | Self::Pack(_) | Self::Stopped => ReasonCode::ImageUnreadable,
        };
        Failure::new(code, format!("image:{}", target.shown()), chain(self))
    }
}

/// An image to be looked at.
struct Target {
    id: String,
    names: BTreeSet<String>,
    digests: Vec<String>,
    /// The names that projects run it by.
    runs: BTreeSet<(String, String)>,
}

/// What a run has done by now.
#[derive(Default)]
struct Done {
    writes: Vec<Write>,
    bytes: usize,
    read: usize,
    matched: usize,
    skipped: usize,
    left: usize,
    failed: usize,
    vulnerabilities: u64,
    seen: Vec<Seen>,
}

impl ScanImages {
    /// The operation, on this engine and store, with these advisories.
    pub fn new(rollout: Rollout, advisories: Arc<Advisories>) -> Self {
        Self { rollout, advisories }
    }

    async fn scan(&self, run: RunContext) -> RunEnd {
        let Inputs::ScanImages(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let mut has_failed = false;
        if self.advisories.source().is_some() {
            match update(&self.advisories, &run).await {
                Ok(_) => {}
                Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
                Err(StepError::Failed(error)) => {
                    run.fail(advisories_failure(&error));
                    has_failed = true;
                }
                Err(StepError::NotRecorded(error)) => {
                    return RunEnd::failed(&run, [store_failure(&error)]);
                }
            }
        }
        let head = self.advisories.head().unwrap_or_default();
        let workspace = run.run().workspace_id;
        let targets = match self.targets(&run, &inputs.projects, &inputs.images).await {
            Ok(targets) => targets,
            Err(error) => {
                let failures = failures_of(&PreviewError::Engine(error), "engine");
                return RunEnd::failed(&run, failures);
            }
        };
        let known = match self.rollout.store.image_scans(workspace).await {
            Ok(known) => known,
            Err(error) => return RunEnd::failed(&run, [store_failure(&error)]),
        };
        count(&run, CountKey::Total, targets.found.len() + targets.missing);
        let mut done = Done { failed: targets.missing, ..Done::default() };
        let known: BTreeMap<&str, &ScanRow> =
            known.iter().map(|row| (row.image_id.as_str(), row)).collect();
        for target in &targets.found {
            let full = done.read + done.matched >= IMAGES_SCANNED_MAX;
            if full || done.bytes > SCAN_RUN_BYTES_MAX {
                done.left += 1;
                continue;
            }
            let row = known.get(target.id.as_str()).copied();
            match self.look(&run, target, row, head.as_ref(), &mut done).await {
                Ok(()) => {}
                Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
                Err(StepError::Failed(ScanError::Stopped)) => {
                    return RunEnd::stopped(run.stop().unwrap_or(Stop::Draining));
                }
                Err(StepError::Failed(error)) => {
                    run.fail(error.failure(target));
                    done.failed += 1;
                }
                Err(StepError::NotRecorded(error)) => {
                    return RunEnd::failed(&run, [store_failure(&error)]);
                }
            }
        }
        if head.is_some() {
            match self.tell(&run, &inputs.projects, &done).await {
                Ok(()) => {}
                Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
                Err(StepError::Failed(error) | StepError::NotRecorded(error)) => {
                    return RunEnd::failed(&run, [store_failure(&error)]);
                }
            }
        }
        let removed = self.forget(&targets.found, &known, workspace, &mut done).await;
        count(&run, CountKey::Removed, removed);
        self.end(&run, done, has_failed, head.as_ref())
    }

    fn end(&self, run: &RunContext, done: Done, has_failed: bool, head: Option<&Head>) -> RunEnd {
        count(run, CountKey::Processed, done.read + done.matched);
        count(run, CountKey::Updated, done.read);
        count(run, CountKey::Skipped, done.skipped + done.left);
        count(run, CountKey::Failed, done.failed);
        let many = usize::try_from(done.vulnerabilities).unwrap_or(usize::MAX);
        count(run, CountKey::Vulnerabilities, many);
        let Done { read, matched, skipped, left, failed, vulnerabilities, writes, .. } = done;
        let with = match head {
            Some(head) => format!("{} advisories", head.advisories),
            None => "no advisories: `images.advisories` names none, or none were read".to_owned(),
        };
        let mut summary = format!(
            "{read} images were read, {matched} matched anew and {skipped} were as before, with \
             {with}: {vulnerabilities} vulnerabilities"
        );
        if failed + left > 0 {
            summary.push_str(&format!("; {failed} could not be read, {left} are left"));
        }
        run.log(&summary);
        let end = match (failed > 0 || has_failed, read + matched + skipped > 0) {
            (false, _) => End::Succeeded,
            (true, true) => End::PartiallySucceeded,
            (true, false) => End::Failed,
        };
        let ended = RunEnd::ended(end).summary(summary);
        writes.into_iter().fold(ended, RunEnd::write)
    }

    /// The images that are meant; each is looked for once.
    async fn targets(
        &self,
        run: &RunContext,
        projects: &[String],
        images: &[String],
    ) -> Result<Targets, EngineError> {
        let projects: BTreeSet<String> = projects.iter().cloned().collect();
        let found = self.rollout.images_of(&projects).await?;
        let mut targets: BTreeMap<String, Target> = BTreeMap::new();
        for (id, running) in found.running() {
            let mut target = target_of(&id, running.facts);
            let names = running.runs.iter().map(|(name, _)| name);
            target.names.extend(names.filter(|name| **name != id).cloned());
            target.runs = running.runs;
            targets.insert(id, target);
        }
        let mut missing = 0;
        for name in images {
            match self.rollout.engine.image(name).await? {
                Some(facts) => {
                    let fresh = target_of(&facts.id, Some(&facts));
                    let target = targets.entry(facts.id.clone()).or_insert(fresh);
                    target.names.extend((*name != facts.id).then(|| name.clone()));
                }
                None => {
                    let message = format!("there is no image {name} on this host; pull it first");
                    let about = format!("image:{name}");
                    run.fail(Failure::new(ReasonCode::ImageMissing, about, message));
                    missing += 1;
                }
            }
        }
        Ok(Targets { found: targets.into_values().collect(), missing })
    }

    /// Looks at one image: reads it unless it was read, matches it unless it was matched with this list.
    async fn look(
        &self,
        run: &RunContext,
        target: &Target,
        known: Option<&ScanRow>,
        head: Option<&Head>,
        done: &mut Done,
    ) -> Result<(), StepError<ScanError>> {
        let digest = head.map(|head| head.digest);
        let kept = known.filter(|row| !row.summary.is_unread());
        if let Some(row) = kept.filter(|row| !row.summary.is_stale(digest)) {
            done.skipped += 1;
            done.vulnerabilities += row.summary.total();
            return self.tell_again(run, target, head, done).await;
        }
        let workspace = run.run().workspace_id;
        let mut stored = None;
        if kept.is_some() {
            let found = self.rollout.store.image_scan(workspace, target.id.clone()).await;
            let found = found.map_err(StepError::NotRecorded)?;
            stored = found.and_then(|scan| {
                let inventory = scans::unpack::<Inventory>(&scan.inventory).ok()?;
                Some((inventory, scan.scanned_at))
            });
        }
        let is_read = stored.is_none();
        let (inventory, scanned_at) = match stored {
            Some(stored) => stored,
            None => self.read(run, target).await?,
        };
        let told = match head {
            None => None,
            Some(_) => {
                let entries = self.advisories.entries(entry_keys(&inventory)).await;
                let entries = entries.map_err(|it| StepError::Failed(ScanError::Advisories(it)));
                let (head, entries) = entries?;
                Some((vulnerabilities(&inventory, &entries), head))
            }
        };
        let kept = keep(run, target, (inventory, scanned_at), told, (is_read, done));
        kept.map_err(|error| StepError::Failed(ScanError::Pack(error)))
    }

    /// Tells of an image that is as before what is known of it: another project may run it by now.
    async fn tell_again(
        &self,
        run: &RunContext,
        target: &Target,
        head: Option<&Head>,
        done: &mut Done,
    ) -> Result<(), StepError<ScanError>> {
        if target.runs.is_empty() || head.is_none() {
            return Ok(());
        }
        let workspace = run.run().workspace_id;
        let known = self.rollout.store.image_scan(workspace, target.id.clone()).await;
        if let Some(scan) = known.map_err(StepError::NotRecorded)? {
            let found = scans::unpack(&scan.vulnerabilities);
            let found = found.map_err(|error| StepError::Failed(ScanError::Pack(error)))?;
            done.seen.push(Seen { runs: target.runs.clone(), found });
        }
        Ok(())
    }

    /// Records findings: what is wrong with the images that projects run.
    async fn tell(
        &self,
        run: &RunContext,
        asked: &[String],
        done: &Done,
    ) -> Result<(), StepError<StoreError>> {
        let workspace = run.run().workspace_id;
        let projects = self.rollout.store.projects(workspace).await;
        let projects = projects.map_err(StepError::NotRecorded)?;
        let mut tenants = BTreeMap::new();
        let mut whole = BTreeSet::new();
        for project in &projects {
            tenants.extend(project.tenant_id.map(|tenant| (project.name.clone(), tenant)));
            whole.extend(project.tenant_id);
        }
        let is_asked = |name: &String| asked.contains(name);
        let not_asked = projects.iter().filter(|project| !is_asked(&project.name));
        for tenant in not_asked.filter_map(|project| project.tenant_id) {
            whole.remove(&tenant);
        }
        if done.failed + done.left > 0 {
            whole.clear();
        }
        let at = (run.run().id, run.ambient().now());
        let findings = Findings::new(Arc::clone(&self.rollout.store), run.ambient().clone());
        for look in looks(&done.seen, &tenants, &whole, at) {
            let step = Step {
                key: format!("record_findings:{}", look.tenant),
                description: "record the vulnerabilities as findings".to_owned(),
                cause: format!("{} images were matched with advisories", look.subjects.len()),
                undo: Undo::Nothing,
            };
            run.step(step, findings.record(look)).await?;
        }
        Ok(())
    }

    /// Reads the packages of an image: the engine saves it, part by part.
    async fn read(
        &self,
        run: &RunContext,
        target: &Target,
    ) -> Result<(Inventory, Timestamp), StepError<ScanError>> {
        let step = Step {
            key: format!("read_image:{}", target.id),
            description: format!("read the packages of {}", target.shown()),
            cause: "it was not read yet".to_owned(),
            undo: Undo::Nothing,
        };
        let reading = async {
            let saved = self.rollout.engine.save_image(&target.id);
            tokio::select! {
                biased;
                _ = run.stopped() => Err(ScanError::Stopped),
                read = image_archive::read(saved) => read.map_err(ScanError::Archive),
            }
        };
        let contents = run.step(step, reading).await?;
        let mut reading = Reading::default();
        contents.files.iter().for_each(|(path, content)| reading.file(path, content));
        contents.missed.iter().for_each(|(path, why)| reading.missed(path, why));
        Ok((reading.done(), run.ambient().now()))
    }

    /// Forgets scans of images that are not on the engine any more.
    async fn forget(
        &self,
        targets: &[Target],
        known: &BTreeMap<&str, &ScanRow>,
        workspace: WorkspaceId,
        done: &mut Done,
    ) -> usize {
        let here: BTreeSet<&str> = targets.iter().map(|target| target.id.as_str()).collect();
        let others = known.keys().filter(|id| !here.contains(*id)).take(IMAGES_SCANNED_MAX);
        let mut removed = 0;
        for id in others {
            // Whether the engine knows it is asked again by the next run when it does not answer.
            if matches!(self.rollout.engine.image(id).await, Ok(None)) {
                let image_id = (*id).to_owned();
                done.writes
                    .push(Write::Scan(ScanWrite::Drop { workspace_id: workspace, image_id }));
                removed += 1;
            }
        }
        removed
    }
}

/// Notes what was found, to be written with the run's end.
fn keep(
    run: &RunContext,
    target: &Target,
    (mut inventory, scanned_at): (Inventory, Timestamp),
    told: Option<(Vec<Vulnerability>, Head)>,
    (is_read, done): (bool, &mut Done),
) -> Result<(), PackError> {
    let (mut found, head) = match told {
        Some((found, head)) => (found, Some(head)),
        None => (Vec::new(), None),
    };
    let (counts, left_out) = scans::count(&mut found);
    let packages = inventory.packages.len() as u64;
    let os = inventory.os.as_ref().map(|os| match os.name.is_empty() {
        true => format!("{} {}", os.id, os.version),
        false => os.name.clone(),
    });
    if head.is_some() && !target.runs.is_empty() {
        done.seen.push(Seen { runs: target.runs.clone(), found: found.clone() });
    }
    let packed = scans::pack_inventory(&mut inventory);
    let scan = ImageScan {
        workspace_id: run.run().workspace_id,
        image_id: target.id.clone(),
        scanned_at,
        matched_at: run.ambient().now(),
        summary: Summary {
            names: target.names.iter().take(50).cloned().collect(),
            digests: target.digests.iter().take(50).cloned().collect(),
            os,
            packages,
            notes: inventory.notes.len() as u64,
            advisories: head.map(|head| head.digest),
            counts,
            left_out,
            readers: READERS,
        },
        inventory: packed,
        vulnerabilities: scans::pack(&found)?,
    };
    done.vulnerabilities += scan.summary.total();
    done.bytes += scan.inventory.len() + scan.vulnerabilities.len();
    if is_read {
        done.read += 1;
    } else {
        done.matched += 1;
    }
    done.writes.push(Write::Scan(ScanWrite::Put(Box::new(scan))));
    Ok(())
}

struct Targets {
    found: Vec<Target>,
    missing: usize,
}

impl Target {
    fn shown(&self) -> &str {
        self.names.first().unwrap_or(&self.id)
    }
}

fn target_of(id: &str, facts: Option<&ImageFacts>) -> Target {
    Target {
        id: id.to_owned(),
        names: facts.iter().flat_map(|facts| facts.tags.iter().cloned()).collect(),
        digests: facts.map(|facts| facts.digests.clone()).unwrap_or_default(),
        runs: BTreeSet::new(),
    }
}

impl UpdateAdvisories {
    /// The operation, on these advisories.
    pub fn new(advisories: Arc<Advisories>) -> Self {
        Self { advisories }
    }

    async fn update(&self, run: RunContext) -> RunEnd {
        let Inputs::UpdateAdvisories(_) = run.run().context.inputs else {
            return wrong_inputs(&run);
        };
        match update(&self.advisories, &run).await {
            Ok(updated) => {
                let head = updated.head();
                let many = usize::try_from(head.advisories).unwrap_or(usize::MAX);
                count(&run, CountKey::Total, many);
                let (key, word) = match updated {
                    Updated::Replaced(_) => (CountKey::Updated, "are new"),
                    Updated::Unchanged(_) => (CountKey::Skipped, "are as before"),
                };
                count(&run, key, many);
                let summary = format!("{} advisories of {} {word}", head.advisories, head.source);
                RunEnd::ended(End::Succeeded).summary(summary)
            }
            Err(StepError::Stopped(stop)) => RunEnd::stopped(stop),
            Err(StepError::Failed(error)) => RunEnd::failed(&run, [advisories_failure(&error)]),
            Err(StepError::NotRecorded(error)) => RunEnd::failed(&run, [store_failure(&error)]),
        }
    }
}

/// One step: the list in force is as its source afterwards, or stays.
async fn update(
    advisories: &Arc<Advisories>,
    run: &RunContext,
) -> Result<Updated, StepError<AdvisoryError>> {
    let source = advisories.source().map_or_else(|| "nowhere".to_owned(), |it| it.shown());
    let step = Step {
        key: "update_advisories".to_owned(),
        description: format!("look for newer advisories at {source}"),
        cause: "there may be some".to_owned(),
        undo: Undo::Nothing,
    };
    let now = run.ambient().now();
    run.step(step, advisories.update(now)).await
}

fn advisories_failure(error: &AdvisoryError) -> Failure {
    let message = format!("{}; the advisories in force stay", chain(error));
    Failure::new(ReasonCode::AdvisoriesUnavailable, "advisories", message)
}

impl Operation for ScanImages {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.scan(run))
    }
}

impl Operation for UpdateAdvisories {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.update(run))
    }
}
