//! Joins and cleans paths of the client's machine. Owns the lexical rules of Unix paths and `~`.
//! Face: `absolute`, `clean`, `parent`. Never looks at a file system: a link is not followed.

/// `path` as seen from the directory `base`; `~` is the home directory, when it is known. What
/// follows it is joined, as Docker Compose does: `~a` is `a` in the home directory.
pub(super) fn absolute(base: &str, path: &str, home: Option<&str>) -> String {
    if let (Some(home), Some(rest)) = (home, path.strip_prefix('~')) {
        return clean(&format!("{home}/{rest}"));
    }
    if path.starts_with('/') { clean(path) } else { clean(&format!("{base}/{path}")) }
}

/// The shortest equal path: no `.`, no empty parts, `..` taken back where possible.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// A path with a drive letter, which only another machine can resolve.
pub(super) fn is_windows(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.get(1) == Some(&b':')
        && matches!(bytes.get(2), Some(b'/' | b'\\'))
        || path.starts_with("\\\\")
}

/// The directory that holds an absolute path.
pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &path[..end],
    }
}

/// The last part of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// How a path is shown to the user: relative when it lies below the directory he is in.
pub(super) fn shown<'a>(directory: &str, path: &'a str) -> &'a str {
    path.strip_prefix(directory)
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_looking() {
        let check = |path: &str, expect: &str| {
            assert_eq!(absolute("/p/q", path, Some("/home/u")), expect, "{path}");
        };
        check(".", "/p/q");
        check("./a//b/", "/p/q/a/b");
        check("../a", "/p/a");
        check("../../../a", "/a");
        check("/x/./y", "/x/y");
        check("~", "/home/u");
        check("~/a", "/home/u/a");
        check("~a", "/home/u/a");
        assert_eq!(absolute("/p/q", "~/a", None), "/p/q/~/a");
        assert_eq!(clean("a/../.."), "..");
        assert_eq!(clean(""), ".");
        assert_eq!(shown("/p/q", "/p/q/compose.yaml"), "compose.yaml");
        assert_eq!(shown("/p/q", "/p/qq/compose.yaml"), "/p/qq/compose.yaml");
    }
}
