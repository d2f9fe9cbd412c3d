//! Writes the manual of the configuration. Owns `docs/configuration.md`. Face: `manual`. Never says
//! anything about a key that the table of keys does not say.

use super::schema::KEYS;

const INTRODUCTION: &str = "\
# Configuration of the agent

`wharf agent --config FILE` reads one YAML file. The smallest is

```yaml
state_dir: /var/lib/wharfinger
```

An unknown key or a wrong value is an error that names file, line and column, and all of them are
reported at once: `wharf config check FILE` does it without starting anything. Durations are written
as `90s` or `1m30s`, sizes as `512m` or `2g` (powers of 1024).

A change takes effect at a **reload** (SIGHUP, `systemctl reload wharfinger`) or at a **restart**,
as each key says; a reload that finds a changed key of the second sort says so in the log and in the
audit event `configuration.reloaded`. A file with errors changes nothing.

";

/// The text of `docs/configuration.md`.
pub fn manual() -> String {
    let mut text = String::from(INTRODUCTION);
    let mut section = "";
    for key in KEYS {
        let first = key.path.split_once('.').map_or("", |(first, _)| first);
        if first != section {
            section = first;
            text.push_str(&format!("## {section}\n\n"));
        }
        let default = match key.default.strip_prefix('(') {
            Some(words) => words.trim_end_matches(')').to_owned(),
            None => format!("`{}`", key.default),
        };
        text.push_str(&format!(
            "### `{}`\n\n{}\n\n- Value: {}\n- Default: {default}\n- Takes effect at: {}\n\n",
            key.path,
            key.doc,
            key.kind,
            key.reload.words()
        ));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
