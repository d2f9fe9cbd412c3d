//! The verbs that prove and hand out the audit log. Owns their text and the reading of files. Face:
//! `offline`, `with_agent`. Never judges itself what is whole: one verifier does, whatever the log is
//! read from.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use futures_util::StreamExt as _;

use super::client::Client;
use super::exit::{CliError, Exit};
use super::grammar::{AuditExport, AuditVerb, AuditVerify, ExportForm};
use super::output::Output;
use super::records;
use crate::api::wire::{AuditErase, AuditErased, AuditKey, AuditPurged};
use crate::base::chain;
use crate::base::limits::{AUDIT_ANCHORED_MAX, AUDIT_LINE_BYTES_MAX};
use crate::domain::audit::log::Importer;
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, VerifyingKey};
use crate::store::sqlite;

/// How a file begins that is a database.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What a verification is given beside the log.
struct Beside {
    anchors: Vec<Checkpoint>,
    keys: Option<Vec<VerifyingKey>>,
}

/// `wharf audit verify --file FILE`, which needs no agent.
pub(super) fn offline(
    verify: &AuditVerify,
    file: &Path,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let beside = beside(verify)?;
    let is_trusted = beside.keys.is_some();
    let mut reader = BufReader::new(open(file)?);
    let mut magic = Vec::new();
    let begun = reader.by_ref().take(SQLITE.len() as u64).read_to_end(&mut magic);
    begun.map_err(|error| unreadable(file, &error))?;
    let verdict = match magic == SQLITE {
        true => sqlite::prove_file(file, beside.keys, beside.anchors).map_err(|error| {
            CliError::new(Exit::Data, format!("{}: {}", file.display(), chain(&error)))
                .hint("a copy of the database needs its `-wal` file beside it, if there is one")
        })?,
        false => prove_lines(file, magic, reader, beside)?,
    };
    print(&verdict, is_trusted, output)
}

fn prove_lines(
    file: &Path,
    begin: Vec<u8>,
    reader: BufReader<File>,
    beside: Beside,
) -> Result<Verdict, CliError> {
    let mut reader = BufReader::new(std::io::Cursor::new(begin).chain(reader));
    let mut lines = Lines::new(beside);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = AUDIT_LINE_BYTES_MAX as u64 + 1;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| unreadable(file, &error))? == 0 {
            return lines.finish();
        }
        lines.take(&line)?;
    }
}

/// `wharf audit …` of an agent.
pub(super) async fn with_agent(
    client: &Client,
    verb: AuditVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        AuditVerb::Ls(options) => records::list_events(client, *options, output).await,
        AuditVerb::Filters { above } => records::list_filters(client, above, output).await,
        AuditVerb::Show { id, above } => records::show_event(client, (&id, above), output).await,
        AuditVerb::Verify(verify) => verify_agent(client, &verify, output).await,
        AuditVerb::Export(export) => write_export(client, &export, output).await,
        AuditVerb::Key => {
            let key: AuditKey = client.get("/v1/audit/key").await?;
            match output.is_json() {
                true => output.json(&key)?,
                false => output.line(&key.public_key)?,
            }
            Ok(Exit::Success)
        }
        AuditVerb::Purge(purge) => {
            let before = serde_json::json!({ "before": purge.before });
            let purged: AuditPurged = client.post("/v1/audit/purge", &before).await?;
            match output.is_json() {
                true => output.json(&purged)?,
                false => output.line(format!("{} records purged", purged.records))?,
            }
            Ok(Exit::Success)
        }
        AuditVerb::ErasePerson { person } => {
            let erased: AuditErased =
                client.post("/v1/audit/erase", &AuditErase { person }).await?;
            match output.is_json() {
                true => output.json(&erased)?,
                false => output.line(format!("erased: {} from now on", erased.pseudonym))?,
            }
            Ok(Exit::Success)
        }
    }
}

/// Reads the agent's log, and proves it here: the agent is not asked for its opinion.
async fn verify_agent(
    client: &Client,
    verify: &AuditVerify,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let beside = beside(verify)?;
    let is_trusted = beside.keys.is_some();
    let mut lines = Lines::new(beside);
    let mut parts = client.stream("/v1/audit/export", None).await?.bytes_stream();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| broken_off(&error))?;
        rest.extend_from_slice(&part);
        let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in rest[..end].split_inclusive(|byte| *byte == b'\n') {
            lines.take(line)?;
        }
        rest.drain(..end);
    }
    if !rest.is_empty() {
        lines.take(&rest)?;
    }
    print(&lines.finish()?, is_trusted, output)
}

async fn write_export(
    client: &Client,
    export: &AuditExport,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let path = match export.form {
        ExportForm::Jsonl => "/v1/audit/export",
        ExportForm::Cloudevents => "/v1/audit/cloudevents",
    };
    let mut file = match &export.file {
        Some(path) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Some((path, made.map_err(|error| unwritable(path, &error))?))
        }
        None => None,
    };
    let mut parts = client.stream(path, None).await?.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| broken_off(&error))?;
        match &mut file {
            Some((path, file)) => {
                file.write_all(&part).map_err(|error| unwritable(path, &error))?;
            }
            None => output.bytes(&part)?,
        }
    }
    if let Some((path, file)) = file {
        file.sync_all().map_err(|error| unwritable(path, &error))?;
    }
    Ok(Exit::Success)
}

/// The lines of an export, as they come.
struct Lines {
    beside: Option<Beside>,
    importer: Option<Importer>,
}

impl Lines {
    fn new(beside: Beside) -> Self {
        Self { beside: Some(beside), importer: None }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), CliError> {
        if line.len() > AUDIT_LINE_BYTES_MAX {
            let message = format!("a line is longer than {AUDIT_LINE_BYTES_MAX} bytes");
            return Err(CliError::new(Exit::Data, message));
        }
        match (&mut self.importer, self.beside.take()) {
            (Some(importer), _) => importer.line(line),
            (None, beside) => {
                let Beside { anchors, keys } =
                    beside.unwrap_or(Beside { anchors: Vec::new(), keys: None });
                let begun = Importer::begin(line, keys, anchors);
                self.importer = Some(begun.map_err(|error| no_export(&error.to_string()))?);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Verdict, CliError> {
        let importer = self.importer.ok_or_else(|| no_export("the file is empty"))?;
        Ok(importer.finish())
    }
}

fn no_export(message: &str) -> CliError {
    CliError::new(Exit::Data, message)
        .hint("`wharf audit export FILE` writes one; a copy of `wharf.db` does too")
}

fn broken_off(error: &reqwest::Error) -> CliError {
    CliError::new(Exit::Unreachable, format!("the agent's answer broke off: {}", chain(error)))
        .hint("look at the agent's log, then try again")
}

/// What was found, the first bad event first.
fn print(verdict: &Verdict, is_trusted: bool, output: &mut Output) -> Result<Exit, CliError> {
    let exit = if verdict.is_whole() { Exit::Success } else { Exit::Failed };
    if output.is_json() {
        let breaks = verdict
            .breaks
            .iter()
            .map(|found| serde_json::json!({ "seq": found.seq(), "problem": found.to_string() }));
        output.json(&serde_json::json!({
            "is_whole": verdict.is_whole(),
            "records": verdict.records,
            "last": verdict.last,
            "head": verdict.head,
            "checkpoints": verdict.checkpoints,
            "unsealed": verdict.unsealed,
            "first_bad": verdict.breaks.first().map(|found| found.seq()),
            "broken": verdict.broken,
            "breaks": breaks.collect::<Vec<_>>(),
        }))?;
        return Ok(exit);
    }
    for found in &verdict.breaks {
        output.line(format!("event {}: {found}", found.seq()))?;
    }
    let more = verdict.broken.saturating_sub(verdict.breaks.len() as u64);
    if more > 0 {
        output.line(format!("and {more} more"))?;
    }
    output.line(format!(
        "{} records up to number {}, {} checkpoints, the last {} not sealed yet: {}",
        verdict.records,
        verdict.last,
        verdict.checkpoints,
        verdict.unsealed,
        if verdict.is_whole() { "whole" } else { "NOT WHOLE" }
    ))?;
    if !is_trusted {
        output.note("the log's own key was believed: name yours with --key");
    }
    Ok(exit)
}

fn beside(verify: &AuditVerify) -> Result<Beside, CliError> {
    let anchors = match &verify.anchors {
        Some(path) => read_anchors(path)?,
        None => Vec::new(),
    };
    let keys = verify.key.as_deref().map(read_keys).transpose()?;
    Ok(Beside { anchors, keys })
}

/// A line of what an anchor got.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum AnchorLine {
    File(Checkpoint),
    Webhook { checkpoints: Vec<Checkpoint> },
}

fn read_anchors(path: &Path) -> Result<Vec<Checkpoint>, CliError> {
    let mut anchors = Vec::new();
    for (number, line) in BufReader::new(open(path)?).lines().enumerate() {
        let line = line.map_err(|error| unreadable(path, &error))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |said: String| {
            let place = format!("{}:{}", path.display(), number + 1);
            CliError::new(Exit::Data, format!("{place}: {said}")).hint(
                "each line of the file is what the agent's anchor got: a checkpoint, or a message",
            )
        };
        if anchors.len() >= AUDIT_ANCHORED_MAX {
            return Err(wrong(format!("there are more than {AUDIT_ANCHORED_MAX} checkpoints")));
        }
        match serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))? {
            AnchorLine::File(checkpoint) => anchors.push(checkpoint),
            AnchorLine::Webhook { checkpoints } => anchors.extend(checkpoints),
        }
    }
    Ok(anchors)
}

fn read_keys(path: &Path) -> Result<Vec<VerifyingKey>, CliError> {
    let mut text = String::new();
    let read = open(path)?.take(AUDIT_LINE_BYTES_MAX as u64).read_to_string(&mut text);
    read.map_err(|error| unreadable(path, &error))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Result<Vec<_>, _> =
        lines.map(|line| VerifyingKey::try_from(line.to_owned())).collect();
    match keys {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        Ok(_) => Err(CliError::new(Exit::Data, format!("{} holds no key", path.display()))),
        Err(said) => Err(CliError::new(Exit::Data, format!("{}: {said}", path.display()))
            .hint("`wharf audit key` prints one")),
    }
}

fn open(path: &Path) -> Result<File, CliError> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::SystemFile,
    };
    CliError::new(exit, format!("cannot read {}: {error}", path.display()))
}

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(Exit::SystemFile, format!("cannot write {}: {error}", path.display()))
}
