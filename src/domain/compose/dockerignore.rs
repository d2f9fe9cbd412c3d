//! Decides what belongs to a build context, and identifies it. Owns the rules of `.dockerignore`
//! and the digest over a context. Face: `Ignore`, `ContextEntry`, `context_digest`. Never walks a
//! directory: the caller lists it.

use crate::base::Digest;

/// The lines of a `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    keeps: bool,
    tokens: Vec<Token>,
    depth: usize,
}

#[derive(Debug, Clone)]
enum Token {
    /// `**` at the end: anything.
    Anything,
    /// `**/`: any number of directories, none included.
    Directories,
    /// `*`: anything within a name.
    Star,
    /// `?`: one character of a name.
    One,
    /// `[a-z]`, perhaps negated.
    Class(bool, Vec<(char, char)>),
    /// Itself.
    Literal(char),
}

impl Ignore {
    /// Reads the lines. `kept` are names that stay whatever the lines say: the Dockerfile and
    /// `.dockerignore`, without which nothing can be built.
    pub fn parse(text: &str, kept: &[&str]) -> Self {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::to_owned);
        let kept = kept.iter().map(|name| format!("!{name}"));
        Self { rules: lines.chain(kept).filter_map(|line| rule(&line)).collect() }
    }

    /// Whether a path (relative, with `/`) stays out. The last line that matches it, or a directory
    /// above it, decides.
    pub fn excludes(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let mut excluded = false;
        for rule in &self.rules {
            let above = (1..parts.len()).filter(|depth| *depth >= rule.depth);
            let matches = rule.matches(path)
                || above.map(|depth| parts[..depth].join("/")).any(|dir| rule.matches(&dir));
            if matches {
                excluded = !rule.keeps;
            }
        }
        excluded
    }

    /// Whether a directory can be skipped with everything in it: it is out, and no line brings
    /// anything back in.
    pub fn skips_directory(&self, path: &str) -> bool {
        self.excludes(path) && !self.rules.iter().any(|rule| rule.keeps && rule.may_match_in(path))
    }
}

fn rule(line: &str) -> Option<Rule> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    let (keeps, pattern) = match line.strip_prefix('!') {
        Some(pattern) => (true, pattern.trim()),
        None => (false, line),
    };
    if pattern.is_empty() {
        return None;
    }
    let pattern = super::paths::clean(pattern);
    let pattern = pattern.trim_start_matches('/');
    if pattern.is_empty() || pattern == "." {
        return None;
    }
    let depth = match pattern.contains("**") {
        true => 0,
        false => pattern.split('/').count(),
    };
    Some(Rule { keeps, tokens: tokens(pattern), depth })
}

fn tokens(pattern: &str) -> Vec<Token> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(character) = characters.get(at) {
        at += 1;
        match character {
            '*' if characters.get(at) == Some(&'*') => {
                at += 1;
                if characters.get(at) == Some(&'/') {
                    at += 1;
                }
                let ends = at >= characters.len();
                tokens.push(if ends { Token::Anything } else { Token::Directories });
            }
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '\\' => {
                tokens.push(Token::Literal(characters.get(at).copied().unwrap_or('\\')));
                at += 1;
            }
            '[' => match class(&characters[at..]) {
                Some((token, length)) => {
                    tokens.push(token);
                    at += length;
                }
                None => tokens.push(Token::Literal('[')),
            },
            other => tokens.push(Token::Literal(*other)),
        }
    }
    tokens
}

/// A class after its `[`, and how many characters it takes.
fn class(characters: &[char]) -> Option<(Token, usize)> {
    let end = characters.iter().position(|c| *c == ']')?;
    let (negated, inner) = match characters[..end].first()? {
        '^' => (true, &characters[1..end]),
        _ => (false, &characters[..end]),
    };
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < inner.len() {
        if inner.get(at + 1) == Some(&'-') && at + 2 < inner.len() {
            ranges.push((inner[at], inner[at + 2]));
            at += 3;
        } else {
            ranges.push((inner[at], inner[at]));
            at += 1;
        }
    }
    Some((Token::Class(negated, ranges), end + 1))
}

impl Rule {
    /// Walks all possible positions at once, so that no pattern can make it slow.
    fn matches(&self, path: &str) -> bool {
        let characters: Vec<char> = path.chars().collect();
        let mut reached = vec![false; characters.len() + 1];
        reached[0] = true;
        for token in &self.tokens {
            reached = step(token, &characters, &reached);
        }
        reached[characters.len()]
    }

    /// Whether something below a directory may match: the pattern's beginning fits it. Answers yes
    /// in doubt.
    fn may_match_in(&self, directory: &str) -> bool {
        let literal = self.tokens.iter().map_while(|token| match token {
            Token::Literal(character) => Some(*character),
            _ => None,
        });
        let literal: String = literal.collect();
        let below = format!("{directory}/");
        let common = literal.len().min(below.len());
        literal.as_bytes()[..common] == below.as_bytes()[..common]
    }
}

fn step(token: &Token, path: &[char], reached: &[bool]) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    let mut spreading = false;
    for at in 0..reached.len() {
        let before = at.checked_sub(1).map(|at| path[at]);
        let one =
            |fits: &dyn Fn(char) -> bool| at > 0 && reached[at - 1] && before.is_some_and(fits);
        next[at] = match token {
            Token::Literal(character) => one(&|c| c == *character),
            Token::One => one(&|c| c != '/'),
            Token::Class(negated, ranges) => one(&|c| {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }),
            Token::Star => {
                spreading = reached[at] || (spreading && before.is_some_and(|c| c != '/'));
                spreading
            }
            Token::Anything => {
                spreading |= reached[at];
                spreading
            }
            Token::Directories => {
                let here = reached[at] || (spreading && before == Some('/'));
                spreading |= reached[at];
                here
            }
        };
    }
    next
}

/// One entry of a build context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextEntry {
    /// Relative path with `/`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: ContextKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContextKind {
    /// A directory.
    Directory,
    /// A file with this content.
    File(Digest),
    /// A symbolic link to this target.
    Link(String),
}

/// Identifies a context: the same files give the same digest, in whatever order they were listed
/// and whenever they were written.
pub fn context_digest(entries: &[ContextEntry]) -> Digest {
    let mut sorted: Vec<&ContextEntry> = entries.iter().collect();
    sorted.sort();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for entry in sorted {
        parts.push(entry.path.clone().into_bytes());
        parts.push(entry.mode.to_be_bytes().to_vec());
        parts.push(match &entry.kind {
            ContextKind::Directory => b"directory".to_vec(),
            ContextKind::File(digest) => [b"file:", digest.as_bytes().as_slice()].concat(),
            ContextKind::Link(target) => [b"link:", target.as_bytes()].concat(),
        });
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Digest::of_parts(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_decide_as_docker_decides() {
        let check = |text: &str, out: &[&str], stays: &[&str]| {
            let ignore = Ignore::parse(text, &["Dockerfile", ".dockerignore"]);
            out.iter().for_each(|path| assert!(ignore.excludes(path), "{text:?} keeps {path}"));
            stays.iter().for_each(|path| assert!(!ignore.excludes(path), "{text:?} drops {path}"));
        };
        check("", &[], &["a", "a/b"]);
        check("node_modules\n", &["node_modules", "node_modules/x/y"], &["a/node_modules"]);
        check("**/node_modules", &["node_modules/x", "a/b/node_modules/x"], &["a/node_modules2"]);
        check("*.md\n!README.md", &["a.md"], &["README.md", "d/a.md"]);
        check("*/temp*", &["a/temp", "a/temporary/x"], &["temp", "a/b/temp"]);
        check("temp?", &["tempa"], &["temp", "temp/a"]);
        check("a[0-9].[^x]", &["a1.y"], &["a1.x", "ab.y"]);
        check("/a/./b/", &["a/b", "a/b/c"], &["a"]);
        check("docs\n!docs/keep", &["docs/a"], &["docs/keep", "docs/keep/x"]);
        check("!a\na", &["a"], &[]);
        check("# a\n\n  b  ", &["b"], &["# a", "a"]);
        check("*", &["a", "b/c"], &["Dockerfile", ".dockerignore"]);
        check("**", &["a", "b/c"], &["Dockerfile"]);
        check("\\*", &["*"], &["a"]);
        check("**/*.go", &["a.go", "x/y/a.go"], &["a.gox"]);
        check("a/**/b", &["a/b", "a/x/y/b"], &["a/xb"]);
    }

    #[test]
    fn a_directory_is_skipped_only_when_nothing_comes_back() {
        let ignore = Ignore::parse("docs\nlib\n!docs/keep", &[]);
        assert!(ignore.skips_directory("lib"));
        assert!(!ignore.skips_directory("docs"));
        assert!(!ignore.skips_directory("src"));
    }

    #[test]
    fn digest_depends_on_content_and_not_on_order() {
        let file = |path: &str, text: &str| ContextEntry {
            path: path.to_owned(),
            mode: 0o644,
            kind: ContextKind::File(Digest::of(text.as_bytes())),
        };
        let one = context_digest(&[file("a", "1"), file("b", "2")]);
        assert_eq!(one, context_digest(&[file("b", "2"), file("a", "1")]));
        assert_ne!(one, context_digest(&[file("a", "2"), file("b", "1")]));
    }
}
