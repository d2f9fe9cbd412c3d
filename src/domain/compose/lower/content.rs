//! Lowers configs and secrets to files with content. Owns where the content comes from and the
//! defaults of owner and mode. Face: `lower`. Never prints content.

use std::collections::BTreeMap;

use super::section::Section;
use super::service::Context;
use crate::base::limits::CONTENT_FILE_BYTES_MAX;
use crate::base::yaml::Node;
use crate::base::{Diagnostic, Secret};
use crate::domain::compose::load::Answer;
use crate::facts::ContentFile;

/// Permission bits of a file that names none.
const MODE_DEFAULT: u32 = 0o444;

/// The files of a service's configs and secrets, by target path.
pub(super) fn lower(
    context: &Context<'_>,
    section: &mut Section<'_>,
) -> BTreeMap<String, ContentFile> {
    let mut files = BTreeMap::new();
    for (place, is_secret) in [("configs", false), ("secrets", true)] {
        for mut reference in section.sections(place) {
            let source = reference.text("source").unwrap_or_default();
            let target = reference.text("target").unwrap_or_else(|| source.clone());
            let target = match (target.starts_with('/'), is_secret) {
                (true, _) => target,
                (false, true) => format!("/run/secrets/{target}"),
                (false, false) => format!("/{target}"),
            };
            let uid = reference.number("uid").unwrap_or_default();
            let gid = reference.number("gid").unwrap_or_default();
            let mode = reference.number("mode").unwrap_or(MODE_DEFAULT);
            // A file without content is still one that somebody wants to be read.
            let content = content_of(context, place, &source).unwrap_or_else(|problem| {
                context.problems.borrow_mut().push(*problem);
                Vec::new()
            });
            let read_from = field(context, place, &source, "file").map(str::to_owned);
            let content = Secret::new(content);
            let file = ContentFile { content, uid, gid, mode, is_secret, read_from };
            files.insert(target, file);
        }
    }
    files
}

/// A word of an entry of `configs` or `secrets`.
fn field<'a>(context: &'a Context<'_>, place: &str, source: &str, key: &str) -> Option<&'a str> {
    let node = context.project.entry(place, source)?;
    node.as_map()?.get(key).and_then(Node::as_scalar).map(|scalar| scalar.text.as_str())
}

/// The content of an entry of `configs` or `secrets`.
fn content_of(
    context: &Context<'_>,
    place: &str,
    source: &str,
) -> Result<Vec<u8>, Box<Diagnostic>> {
    let path = format!("{place}.{source}");
    let Some(node) = context.project.entry(place, source) else {
        let message = format!("`{path}` is not declared");
        return Err(Box::new(Diagnostic::new("compose.inconsistent", message)));
    };
    let field = |key: &str| field(context, place, source, key);
    let refuse = |reason: String, help: &str| {
        let message = format!("`{path}` has no content: {reason}");
        Box::new(node.problem("compose.content", message).help(help))
    };
    if let Some(content) = field("content") {
        return Ok(content.as_bytes().to_vec());
    }
    if let Some(variable) = field("environment") {
        return match context.project.from_environment.get(&path) {
            Some(value) => Ok(value.expose().clone().into_bytes()),
            None => Err(refuse(format!("variable `{variable}` is not set"), "set it")),
        };
    }
    let Some(file) = field("file") else {
        let help = "use `file:` or `environment:`";
        return Err(refuse("what is made elsewhere needs a cluster".to_owned(), help));
    };
    match context.inputs.files.get(file) {
        Some(Answer::Content(bytes)) if bytes.len() > CONTENT_FILE_BYTES_MAX => {
            let reason = format!("`{file}` is larger than {CONTENT_FILE_BYTES_MAX} bytes");
            Err(refuse(reason, "mount it as a volume"))
        }
        Some(Answer::Content(bytes)) => Ok(bytes.clone()),
        Some(Answer::Missing) | None => {
            Err(refuse(format!("there is no file `{file}`"), "create the file"))
        }
        Some(Answer::Unreadable(reason)) => {
            Err(refuse(format!("cannot read `{file}`: {reason}"), "make it readable"))
        }
    }
}
