//! Prints what policies found. Owns its three forms. Face: `Report`, `Row`, `Threshold`. Never judges, and
//! never hides: what is not known and who is excepted is shown by itself.

use serde_json::{Map, Value, json};

use super::exit::{CliError, Exit};
use super::output::Output;
use super::sarif::{self, Entry, Level};
use crate::base::suggest::did_you_mean;
use crate::base::{Diagnostic, Location, Name};
use crate::domain::access::Stage;
use crate::domain::alerts::Severity;
use crate::domain::policy::file::Exception;
use crate::domain::policy::{Action, Admission, Finding, PolicySet, Rule, Verdict, strictest};

/// What was judged and what came of it.
pub(super) struct Report<'a> {
    /// The project, or what stands for several.
    pub name: String,
    pub stage: Stage,
    pub set: &'a PolicySet,
    /// How many services or containers were judged.
    pub subjects: usize,
    pub rows: Vec<Row>,
    /// Why the compose files would not be deployed as they are: the rest of them was judged.
    pub refused: Vec<Diagnostic>,
    /// What the compose files say that is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// What one rule found in one service, container or host.
pub(super) struct Row {
    kind: Kind,
    code: String,
    title: String,
    policy: Name,
    also: Vec<Name>,
    /// The project, for what belongs to one.
    project: Option<String>,
    /// The service, the container, or `host`.
    subject: String,
    action: Action,
    severity: Severity,
    message: String,
    remediation: String,
    cis: Vec<&'static str>,
    place: Option<Location>,
}

enum Kind {
    Fail,
    Excepted { owner: String, approver: String, reason: String, expires_at: String },
    Unknown(Vec<String>),
}

/// From where on findings end a command with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threshold {
    Severity(Severity),
    Action(Action),
}

impl Threshold {
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        if let Ok(severity) = text.parse() {
            return Ok(Self::Severity(severity));
        }
        match text.parse::<Action>() {
            Ok(action) if action != Action::Off => Ok(Self::Action(action)),
            _ => {
                let severities = Severity::ALL.iter().map(|it| it.key());
                let actions = Action::ALL.iter().skip(1).map(|it| it.key());
                let known: Vec<&str> = severities.chain(actions).collect();
                let message = format!("`--fail-on {text}` is no severity and no action");
                Err(CliError::new(Exit::Usage, message).hint(did_you_mean(text, &known)))
            }
        }
    }

    fn is_reached(self, row: &Row) -> bool {
        match self {
            Self::Severity(severity) => row.severity >= severity,
            Self::Action(action) => row.action >= action,
        }
    }
}

/// What all findings about one subject come to, without what passed.
pub(super) fn rows(
    findings: &[Finding<'_>],
    (project, subject): (Option<&str>, &str),
    place: impl Fn(&[String]) -> Option<Location>,
) -> Vec<Row> {
    let failed = |it: &&Admission<'_, '_>| it.finding.verdict != Verdict::Pass;
    let admissions = strictest(findings);
    let row = |admission: &Admission<'_, '_>| {
        let finding = admission.finding;
        let (kind, message, place) = match &finding.verdict {
            Verdict::Fail { message, at } => {
                let kind = finding.exception.map_or(Kind::Fail, Kind::excepted);
                (kind, message.clone(), place(at))
            }
            Verdict::Unknown { needs } => {
                let needs = needs.iter().map(|fact| (*fact).to_owned()).collect();
                (Kind::Unknown(needs), String::new(), None)
            }
            Verdict::Pass => (Kind::Unknown(Vec::new()), String::new(), None),
        };
        let cis = match finding.rule {
            Rule::Check(bound) => bound.check.cis().to_vec(),
            Rule::Condition(_) => Vec::new(),
        };
        Row {
            kind,
            code: finding.code(),
            title: finding.rule.title().to_owned(),
            policy: finding.policy.name,
            also: admission.also.clone(),
            project: project.map(str::to_owned),
            subject: subject.to_owned(),
            action: finding.action,
            severity: finding.severity,
            message,
            remediation: finding.rule.remediation().to_owned(),
            cis,
            place,
        }
    };
    admissions.iter().filter(failed).map(row).collect()
}

impl Kind {
    fn excepted(exception: &Exception) -> Self {
        Self::Excepted {
            owner: exception.owner.clone(),
            approver: exception.approver.clone(),
            reason: exception.reason.clone(),
            expires_at: exception.expires_at.to_string(),
        }
    }
}

impl Report<'_> {
    /// Prints it, and says how the command ends.
    pub(super) fn print(
        &self,
        threshold: Threshold,
        output: &mut Output,
    ) -> Result<Exit, CliError> {
        if output.is_sarif() {
            output.json(&self.sarif())?;
        } else if output.is_json() {
            output.json(&self.json())?;
        } else {
            self.text(output)?;
        }
        let is_failed = self.failures().any(|row| threshold.is_reached(row));
        Ok(match (is_failed, self.refused.is_empty()) {
            (true, _) => Exit::Failed,
            (false, false) => Exit::Changes,
            (false, true) => Exit::Success,
        })
    }

    fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.kind, Kind::Fail))
    }

    fn text(&self, output: &mut Output) -> Result<(), CliError> {
        for refused in &self.refused {
            output.line(format!("error: {refused}"))?;
        }
        for warning in &self.warnings {
            output.line(format!("warning: {warning}"))?;
        }
        for row in self.failures() {
            let (severity, code, subject) = (row.severity, &row.code, row.whole_subject());
            let (source, diagnostic) = (row.source(), row.diagnostic());
            output
                .line(format!("{severity}: {subject} breaks `{code}` ({source})\n{diagnostic}"))?;
        }
        for row in &self.rows {
            let (subject, code) = (row.whole_subject(), &row.code);
            if let Kind::Excepted { owner, reason, expires_at, .. } = &row.kind {
                let until = format!("until {expires_at} ({owner}: {reason})");
                output.line(format!("excepted: {subject}: `{code}` {until}"))?;
            }
        }
        for row in &self.rows {
            if let Kind::Unknown(needs) = &row.kind {
                let (subject, code, needs) = (row.whole_subject(), &row.code, needs.join(", "));
                output.line(format!("unknown: {subject}: `{code}` needs {needs}"))?;
            }
        }
        let count = |is: fn(&Kind) -> bool| self.rows.iter().filter(|row| is(&row.kind)).count();
        let (subjects, failed) = (self.subjects, self.failures().count());
        let excepted = count(|kind| matches!(kind, Kind::Excepted { .. }));
        let unknown = count(|kind| matches!(kind, Kind::Unknown(_)));
        output.line(format!(
            "{}: {subjects} judged, {failed} findings, {excepted} excepted, {unknown} unknown",
            self.name
        ))
    }

    fn json(&self) -> Value {
        let policies = self.set.policies().iter();
        let policies = policies.map(|it| json!({"name": it.name, "digest": it.digest}));
        json!({
            "project": self.name,
            "stage": self.stage,
            "policies": policies.collect::<Vec<_>>(),
            "subjects": self.subjects,
            "findings": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "refused": self.refused,
            "warnings": self.warnings,
        })
    }

    fn sarif(&self) -> Value {
        let refused = self.refused.iter().map(|found| Entry::of(Level::Error, found));
        let warnings = self.warnings.iter().map(|found| Entry::of(Level::Warning, found));
        let found = self.rows.iter().filter_map(Row::entry);
        let notes = self.rows.iter().filter_map(Row::notification).collect();
        sarif::log_of(&refused.chain(warnings).chain(found).collect::<Vec<_>>(), notes)
    }
}

impl Row {
    /// `shop/web`, `web`, `host`.
    fn whole_subject(&self) -> String {
        match &self.project {
            Some(project) => format!("{project}/{}", self.subject),
            None => self.subject.clone(),
        }
    }

    /// `policy baseline: deny; CIS 5.5`.
    fn source(&self) -> String {
        let also: Vec<&str> = self.also.iter().map(|name| name.as_str()).collect();
        let also = if also.is_empty() { String::new() } else { format!(", {}", also.join(", ")) };
        let cis = match self.cis.is_empty() {
            true => String::new(),
            false => format!("; CIS {}", self.cis.join(", ")),
        };
        format!("policy {}{also}: {}{cis}", self.policy, self.action)
    }

    fn diagnostic(&self) -> Diagnostic {
        let found = Diagnostic::new("policy.finding", &self.message).help(&self.remediation);
        Diagnostic { location: self.place.clone(), ..found }
    }

    fn json(&self) -> Value {
        let mut row = json!({
            "rule": self.code,
            "title": self.title,
            "policy": self.policy,
            "also": self.also,
            "project": self.project,
            "subject": self.subject,
            "action": self.action,
            "severity": self.severity,
            "cis": self.cis,
            "remediation": self.remediation,
        });
        let more = match &self.kind {
            Kind::Fail => json!({"verdict": "fail", "message": self.message, "place": self.place}),
            Kind::Excepted { owner, approver, reason, expires_at } => json!({
                "verdict": "excepted",
                "message": self.message,
                "place": self.place,
                "exception": {
                    "owner": owner,
                    "approver": approver,
                    "reason": reason,
                    "expires_at": expires_at,
                },
            }),
            Kind::Unknown(needs) => json!({"verdict": "unknown", "needs": needs}),
        };
        if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
            row.extend(more);
        }
        row
    }

    fn entry(&self) -> Option<Entry> {
        let suppression = match &self.kind {
            Kind::Unknown(_) => return None,
            Kind::Fail => None,
            Kind::Excepted { owner, approver, reason, expires_at } => Some(format!(
                "{reason} (owner {owner}, approved by {approver}, until {expires_at})"
            )),
        };
        let level = match self.action {
            Action::Remediate | Action::Deny | Action::Quarantine => Level::Error,
            Action::Warn => Level::Warning,
            Action::Off | Action::Audit => Level::Note,
        };
        let mut properties = Map::new();
        properties.insert("policy".to_owned(), json!(self.policy));
        properties.insert("also".to_owned(), json!(self.also));
        properties.insert("severity".to_owned(), json!(self.severity));
        properties.insert("action".to_owned(), json!(self.action));
        properties.insert("cis".to_owned(), json!(self.cis));
        Some(Entry {
            level,
            code: self.code.clone(),
            title: self.title.clone(),
            help: self.remediation.clone(),
            message: format!("{}: {}; {}", self.whole_subject(), self.message, self.remediation),
            location: self.place.clone(),
            subject: Some(self.whole_subject()),
            suppression,
            properties,
        })
    }

    /// What is not known is no result: it says so beside them.
    fn notification(&self) -> Option<Value> {
        let Kind::Unknown(needs) = &self.kind else { return None };
        let (subject, needs) = (self.whole_subject(), needs.join(", "));
        Some(json!({
            "level": "note",
            "associatedRule": {"id": self.code},
            "message": {"text": format!("{subject}: `{}` needs {needs}", self.code)},
        }))
    }
}
