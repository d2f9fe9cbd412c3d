//! Reads the form of mail headers that package databases are in. Owns nothing. Face: `records`, `fields`.
//! Never fails: a line that is none is left out.

/// The records of a file: they are separated by empty lines.
pub(super) fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
    std::iter::from_fn(move || {
        let mut record = Vec::new();
        for line in lines.by_ref() {
            if line.trim().is_empty() {
                if record.is_empty() {
                    continue;
                }
                return Some(record);
            }
            record.push(line);
        }
        (!record.is_empty()).then_some(record)
    })
}

/// The value of a field, `Name: value`, in a record; what goes on in further lines is left out.
pub(super) fn field<'a>(record: &[&'a str], name: &str) -> Option<&'a str> {
    record.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
