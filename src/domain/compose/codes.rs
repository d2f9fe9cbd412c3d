//! Lists the kinds of problems that compose files can have. Owns their stable ids and what each of
//! them means, in a line. Face: `CODES`, `title_of`. Never words a single problem.

/// Every id, with what it means.
pub const CODES: &[(&str, &str)] = &[
    ("compose.bundle_incomplete", "A file that the project needs was not sent"),
    ("compose.bundle_too_large", "The project needs too many files, or too large ones"),
    ("compose.command", "A command line cannot be split into words"),
    ("compose.command_cut", "A command line ends at a shell operator"),
    ("compose.content", "A config or secret has no content"),
    ("compose.context_unreadable", "A build context cannot be read"),
    ("compose.device", "A device mapping is malformed"),
    ("compose.double", "A list holds the same thing twice"),
    ("compose.empty", "The files declare nothing"),
    ("compose.env_file", "A file of variables is malformed"),
    ("compose.extends_cycle", "Services extend each other in a circle"),
    ("compose.extends_unknown", "A service that is extended does not exist"),
    ("compose.file_missing", "A file does not exist"),
    ("compose.file_not_text", "A file is not UTF-8 text"),
    ("compose.file_too_large", "A file is too large"),
    ("compose.file_unreadable", "A file cannot be read"),
    ("compose.include_conflict", "An included project declares what is declared already"),
    ("compose.include_cycle", "Files include each other in a circle"),
    ("compose.include_remote", "What is included would have to be fetched"),
    ("compose.inconsistent", "Parts of the project contradict each other or do not exist"),
    ("compose.interpolation", "A variable expression is malformed or too much"),
    ("compose.missing_key", "A key is missing"),
    ("compose.mount", "A mount is malformed"),
    ("compose.mount_option", "A mount option has no effect"),
    ("compose.name", "A name is malformed"),
    ("compose.no_effect", "A key has no effect on one host"),
    ("compose.no_file", "There is no compose file"),
    ("compose.not_honoured", "A key cannot be deployed by this agent"),
    ("compose.old_form", "A key is written in an old form"),
    ("compose.port", "A port is malformed"),
    ("compose.project_name", "The project's name is malformed"),
    ("compose.tag", "A YAML tag has no meaning here"),
    ("compose.unknown_key", "A key is unknown"),
    ("compose.unknown_service", "A service that was named is not declared"),
    ("compose.variable_missing", "A variable that is required has no value"),
    ("compose.variable_unset", "A variable is not set"),
    ("compose.wrong_kind", "A value is of the wrong kind"),
    ("yaml.documents", "A file holds several documents"),
    ("yaml.duplicate_key", "A key is given twice"),
    ("yaml.key", "A key is no text"),
    ("yaml.merge", "A merge key takes no mapping"),
    ("yaml.not_utf8", "A file is not UTF-8 text"),
    ("yaml.recursive_alias", "An anchor contains itself"),
    ("yaml.syntax", "A file is not YAML"),
    ("yaml.too_deep", "A file is nested too deep"),
    ("yaml.too_large", "A file is too large"),
    ("yaml.too_many_keys", "A mapping holds too many keys"),
    ("yaml.too_many_nodes", "A file holds too many values once aliases are expanded"),
];

/// What an id means; the id itself for one that is not listed.
pub fn title_of(code: &str) -> &str {
    CODES.iter().find(|(known, _)| *known == code).map_or(code, |(_, title)| title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The ids that a source file uses: `"compose.…"` and `"yaml.…"` that are no file names.
    fn used_in(text: &str) -> Vec<String> {
        let parts = text.split('"').skip(1).step_by(1);
        let is_code = |part: &&str| {
            let below = part.strip_prefix("compose.").or_else(|| part.strip_prefix("yaml."));
            below.is_some_and(|below| {
                !below.is_empty()
                    && !["yaml", "yml"].contains(&below)
                    && below.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'8'))
            })
        };
        parts.filter(is_code).map(str::to_owned).collect()
    }

    fn read_below(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.to_string_lossy().contains("tests");
            match path.is_dir() {
                true => read_below(&path, found),
                false if is_test || path.ends_with("codes.rs") => {}
                false => found.extend(used_in(&std::fs::read_to_string(&path).unwrap())),
            }
        }
    }

    #[test]
    fn every_id_in_use_is_listed_once_and_in_the_manual() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut used = BTreeSet::new();
        for directory in ["src/domain/compose", "src/base/yaml"] {
            read_below(&root.join(directory), &mut used);
        }
        used.extend(used_in(
            &std::fs::read_to_string(root.join("src/cli/project_files.rs")).unwrap(),
        ));
        let listed: BTreeSet<String> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
        assert_eq!(used, listed);
        assert_eq!(listed.len(), CODES.len());
        let manual = std::fs::read_to_string(root.join("docs/compose.md")).unwrap();
        for (code, title) in CODES {
            assert!(manual.contains(&format!("| `{code}` | {title} |")), "{code}");
        }
    }
}
