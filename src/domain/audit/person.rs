//! Keeps what an event says of persons apart from what the chain proves, so that a person can be
//! erased and the chain still verifies. Owns the salted commitments. Face: `split`, `join`,
//! `People::check`. Never leaves a name, an address or a place of connection in hashed bytes.

use std::borrow::Cow;

use super::{ActorType, AuditEvent, AuditRecord};
use crate::base::canonical::{CanonicalError, to_bytes};
use crate::base::limits::MESSAGE_CHARS_MAX;
use crate::base::{Digest, Timestamp};
use crate::domain::redaction::SafeText;
use serde::{Deserialize, Serialize};

/// Keeps commitments apart from every other hash.
const DOMAIN: &[u8] = b"wharfinger person 1";
/// The form of the bodies that are written. Bodies without a version are of the first one, in which
/// persons stood in the body.
const VERSION: u8 = 2;
/// What stands for a name in a body.
const ACTOR: &str = "{actor}";
const TARGET: &str = "{target}";
/// The kind of target that is a person.
pub const PERSON_TARGET: &str = "user";

/// Digits of a pseudonym: two persons of a fleet hardly share one.
const PSEUDONYM_DIGITS: usize = 10;

/// Random bytes of one commitment.
pub type Salt = [u8; 16];

/// What an event says of one person, outside of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Told")]
pub enum Person {
    /// As it was when it happened.
    Known(Known),
    /// The person was erased.
    Erased {
        /// What they are called instead, everywhere.
        pseudonym: String,
    },
}

/// A person as they were when it happened. The fields stand in the order of canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where they connected from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Their name.
    pub label: String,
    /// Without it, nobody can find the person by trying names. Hexadecimal.
    pub salt: String,
    /// With which program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<SafeText>,
}

/// A person as they are written, known or erased: nothing else stands there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    email: Option<String>,
    ip: Option<String>,
    label: Option<String>,
    pseudonym: Option<String>,
    salt: Option<String>,
    user_agent: Option<SafeText>,
}

impl TryFrom<Told> for Person {
    type Error = &'static str;

    fn try_from(told: Told) -> Result<Self, Self::Error> {
        match told {
            Told { label: Some(label), salt: Some(salt), pseudonym: None, .. } => {
                let Told { email, ip, user_agent, .. } = told;
                Ok(Self::Known(Known { email, ip, label, salt, user_agent }))
            }
            Told { pseudonym: Some(pseudonym), label: None, salt: None, .. } => {
                Ok(Self::Erased { pseudonym })
            }
            _ => Err("a person is known or erased"),
        }
    }
}

impl Person {
    /// What they are called.
    pub fn label(&self) -> &str {
        match self {
            Self::Known(known) => &known.label,
            Self::Erased { pseudonym } => pseudonym,
        }
    }
}

/// The persons of an event, outside of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Person>,
    /// Who it was done for: the platform user of the context, known by their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Person>,
    /// Who it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Person>,
}

impl Personal {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.actor.is_none() && self.platform.is_none() && self.target.is_none()
    }

    /// The same without a person, in what is known of this event; none when they are not in it.
    pub fn without(&self, event: &AuditEvent, sought: &Sought) -> Option<Self> {
        let is_known = |person: Option<&Person>| matches!(person, Some(Person::Known(_)));
        let actor = &event.actor;
        let target = event.target.as_ref().filter(|it| it.target_type == PERSON_TARGET);
        let acts = is_known(self.actor.as_ref())
            && match &actor.actor_id {
                Some(id) => *id == sought.id,
                None => sought.label.as_deref() == Some(&actor.actor_label),
            };
        let is_target = is_known(self.target.as_ref())
            && target.is_some_and(|target| target.target_id == sought.id);
        let is_platform = is_known(self.platform.as_ref())
            && event.context.platform_user_id.is_some_and(|id| id.to_string() == sought.id);
        if !acts && !is_target && !is_platform {
            return None;
        }
        let erased = || Some(Person::Erased { pseudonym: sought.pseudonym.clone() });
        Some(Self {
            actor: if acts { erased() } else { self.actor.clone() },
            platform: if is_platform { erased() } else { self.platform.clone() },
            target: if is_target { erased() } else { self.target.clone() },
        })
    }

    /// As it is stored beside a record; nothing when nobody is in it.
    ///
    /// # Errors
    /// When it has no canonical form.
    pub fn to_text(&self) -> Result<Option<String>, CanonicalError> {
        if self.is_empty() {
            return Ok(None);
        }
        serde_json::to_string(self).map(Some).map_err(CanonicalError::NotJson)
    }

    /// What is stored beside a record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from_text(text: Option<&str>) -> Result<Self, serde_json::Error> {
        text.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }

    /// The same; none when it is not exactly as it was written.
    pub fn as_written(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::default()) };
        let read: Self = serde_json::from_str(text).ok()?;
        let written = serde_json::to_vec(&read).ok()?;
        (!read.is_empty() && written == text.as_bytes()).then_some(read)
    }
}

/// Who is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The id that records carry.
    pub id: String,
    /// The name, for records without an id.
    pub label: Option<String>,
    /// What they are called instead.
    pub pseudonym: String,
}

/// What a person is called who is erased: the same in every log and however often it is done, and
/// no way back to them.
pub fn pseudonym(id: &str) -> String {
    let mut digits = Digest::of_parts(&[b"wharfinger pseudonym 1", id.as_bytes()]).to_string();
    digits.truncate(PSEUDONYM_DIGITS);
    format!("person-{digits}")
}

/// The commitments that the chain holds instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Digest>,
}

impl People {
    fn is_empty(&self) -> bool {
        self.actor.is_none() && self.platform.is_none() && self.target.is_none()
    }

    /// Whether these are the persons that the chain commits to, erased ones aside.
    pub fn check(&self, personal: &Personal) -> bool {
        let fits = |commitment: Option<Digest>, person: Option<&Person>| match (commitment, person)
        {
            (None, None) | (Some(_), Some(Person::Erased { .. })) => true,
            (Some(commitment), Some(Person::Known(known))) => {
                commit(known).is_ok_and(|found| found == commitment)
            }
            _ => false,
        };
        fits(self.actor, personal.actor.as_ref())
            && fits(self.platform, personal.platform.as_ref())
            && fits(self.target, personal.target.as_ref())
    }
}

/// A body as it is hashed.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(default, rename = "v")]
    version: u8,
    #[serde(default, skip_serializing_if = "People::is_empty")]
    people: People,
    #[serde(flatten)]
    record: Cow<'a, AuditRecord>,
}

/// A record, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The canonical bytes that are chained.
    pub body: Vec<u8>,
    /// The persons, kept beside.
    pub personal: Personal,
    /// The summary, as it will be read.
    pub summary: SafeText,
}

/// Takes a record apart. Every person gets a salt of their own.
///
/// # Errors
/// When the record has no canonical form.
pub fn split(
    record: &AuditRecord,
    mut salt: impl FnMut() -> Salt,
) -> Result<Parts, CanonicalError> {
    let mut personal = Personal::default();
    let mut bare = record.clone();
    let event = &mut bare.event;
    let mut summary = escape(event.summary.as_str()).into_owned();
    if is_person(event.actor.actor_type) {
        let label = std::mem::replace(&mut event.actor.actor_label, ACTOR.to_owned());
        summary = replace_word(&summary, &escape(&label), ACTOR);
        personal.actor = Some(Person::Known(Known {
            salt: hex::encode(salt()),
            label,
            email: event.actor.actor_email.take(),
            ip: event.context.ip.take(),
            user_agent: event.context.user_agent.take(),
        }));
    }
    if let Some(label) = event.context.platform_user_email.take() {
        let (email, ip, user_agent) = (None, None, None);
        let known = Known { salt: hex::encode(salt()), label, email, ip, user_agent };
        personal.platform = Some(Person::Known(known));
    }
    if let Some(target) = event.target.as_mut().filter(|it| it.target_type == PERSON_TARGET) {
        let label = std::mem::replace(&mut target.target_label, TARGET.to_owned());
        summary = replace_word(&summary, &escape(&label), TARGET);
        let (email, ip, user_agent) = (None, None, None);
        let known = Known { salt: hex::encode(salt()), label, email, ip, user_agent };
        personal.target = Some(Person::Known(known));
    }
    let is_whole = summary.chars().count() <= MESSAGE_CHARS_MAX;
    event.summary = SafeText::new(summary);
    let shown = match is_whole {
        true => record.event.summary.clone(),
        // Placeholders and doubled braces made it too long.
        false => rendered(&event.summary, &personal),
    };
    let people = People {
        actor: personal.actor.as_ref().map(commitment).transpose()?.flatten(),
        platform: personal.platform.as_ref().map(commitment).transpose()?.flatten(),
        target: personal.target.as_ref().map(commitment).transpose()?.flatten(),
    };
    let body = to_bytes(&Body { version: VERSION, people, record: Cow::Owned(bare) })?;
    Ok(Parts { body, personal, summary: shown })
}

/// What filters look at in a body, as it stands there.
#[derive(Debug, Deserialize)]
pub struct Facts<'a> {
    #[serde(default, rename = "v")]
    version: u8,
    /// Its name.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Its workspace.
    #[serde(borrow)]
    pub workspace_id: Text<'a>,
    /// Its tenant.
    #[serde(borrow)]
    pub tenant_id: Option<Text<'a>>,
    /// What happened.
    #[serde(borrow)]
    pub event_type: Text<'a>,
    /// How it went.
    #[serde(borrow)]
    pub outcome: Text<'a>,
    /// Who did it.
    #[serde(borrow)]
    actor: ActorFacts<'a>,
    /// What it was done to.
    #[serde(borrow)]
    pub target: Option<TargetFacts<'a>>,
    /// The run that did it.
    #[serde(borrow)]
    pub operation_run_id: Option<Text<'a>>,
    #[serde(borrow)]
    summary: Text<'a>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// A text of a body, not copied when it stands there as it reads.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[derive(Debug, Deserialize)]
struct ActorFacts<'a> {
    #[serde(borrow)]
    actor_type: Text<'a>,
    #[serde(borrow)]
    actor_label: Text<'a>,
}

/// What was acted on.
#[derive(Debug, Deserialize)]
pub struct TargetFacts<'a> {
    /// What kind of thing.
    #[serde(borrow)]
    pub target_type: Text<'a>,
    /// Its id or name.
    #[serde(borrow)]
    pub target_id: Text<'a>,
}

impl<'a> Facts<'a> {
    /// Of this body; none when it is none.
    pub fn of(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// What kind of actor acted.
    pub fn actor_type(&self) -> &str {
        &self.actor.actor_type.0
    }

    /// What the actor is called.
    pub fn actor_label<'b>(&'b self, personal: &'b Personal) -> &'b str {
        let person = personal.actor.as_ref().filter(|_| self.version > 0);
        person.map_or(&self.actor.actor_label.0, |person| person.label())
    }

    /// What happened, as it reads; not sanitised.
    pub fn summary<'b>(&'b self, personal: &'b Personal) -> Cow<'b, str> {
        let text = &*self.summary.0;
        if self.version == 0 || !text.contains('{') {
            return Cow::Borrowed(text);
        }
        let label =
            |person: &'b Option<Person>, other| person.as_ref().map_or(other, Person::label);
        Cow::Owned(render(text, label(&personal.actor, ACTOR), label(&personal.target, TARGET)))
    }
}

/// Puts a record together again, and says which commitments its body holds.
///
/// # Errors
/// When the body cannot be read.
pub fn join(body: &[u8], personal: &Personal) -> Result<(AuditRecord, People), serde_json::Error> {
    let Body { version, people, record } = serde_json::from_slice(body)?;
    let mut record = record.into_owned();
    if version == 0 {
        return Ok((record, people));
    }
    let event = &mut record.event;
    event.summary = rendered(&event.summary, personal);
    if let Some(person) = &personal.actor {
        event.actor.actor_label = person.label().to_owned();
        if let Person::Known(known) = person {
            event.actor.actor_email.clone_from(&known.email);
            event.context.ip.clone_from(&known.ip);
            event.context.user_agent.clone_from(&known.user_agent);
        }
    }
    if let Some(person) = &personal.platform {
        event.context.platform_user_email = Some(person.label().to_owned());
    }
    if let (Some(person), Some(to)) = (&personal.target, event.target.as_mut()) {
        to.target_label = person.label().to_owned();
    }
    Ok((record, people))
}

fn rendered(template: &SafeText, personal: &Personal) -> SafeText {
    let actor = personal.actor.as_ref().map_or(ACTOR, Person::label);
    let target = personal.target.as_ref().map_or(TARGET, Person::label);
    SafeText::new(render(template.as_str(), actor, target))
}

fn is_person(actor: ActorType) -> bool {
    matches!(actor, ActorType::Human | ActorType::Platform | ActorType::Integration)
}

fn commitment(person: &Person) -> Result<Option<Digest>, CanonicalError> {
    match person {
        Person::Known(known) => commit(known).map(Some),
        Person::Erased { .. } => Ok(None),
    }
}

/// `SHA-256(domain ‖ canonical person)`; the salt is part of the person. Texts in the order of
/// their names are canonical as they are written.
fn commit(known: &Known) -> Result<Digest, CanonicalError> {
    let mut bytes = DOMAIN.to_vec();
    serde_json::to_writer(&mut bytes, known).map_err(CanonicalError::NotJson)?;
    Ok(Digest::of(&bytes))
}

/// A brace of the text itself is doubled, so that it is never taken for a placeholder.
fn escape(text: &str) -> Cow<'_, str> {
    match text.contains('{') {
        true => Cow::Owned(text.replace('{', "{{")),
        false => Cow::Borrowed(text),
    }
}

/// Replaces a name where it stands as a word of its own: a person called `web` is not part of every
/// project called `web-shop`.
fn replace_word(text: &str, word: &str, by: &str) -> String {
    if word.is_empty() {
        return text.to_owned();
    }
    let joins = |found: Option<char>| {
        found.is_some_and(|it| it.is_alphanumeric() || matches!(it, '_' | '-' | '/' | '@'))
    };
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let preceding = before.chars().next_back().or_else(|| out.chars().next_back());
        let stands_alone = !joins(preceding) && !joins(after.chars().next());
        out.push_str(before);
        out.push_str(if stands_alone { by } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn render(template: &str, actor: &str, target: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(template.len()), template);
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let place = &rest[at..];
        let (text, length) = if place.starts_with(ACTOR) {
            (actor, ACTOR.len())
        } else if place.starts_with(TARGET) {
            (target, TARGET.len())
        } else {
            ("{", if place.starts_with("{{") { 2 } else { 1 })
        };
        out.push_str(text);
        rest = &place[length..];
    }
    out.push_str(rest);
    out
}
