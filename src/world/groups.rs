//! Tells which groups of the operating system there are and who belongs to them. Owns the reading
//! of group(5). Face: `group_id`, `group_name`, `is_member`. Never caches: a member who was added or removed
//! counts at once.

/// The number of a group, given by name or by number.
pub fn group_id(name: &str) -> Option<u32> {
    let known = std::fs::read_to_string("/etc/group").unwrap_or_default();
    group_in(&known, name).or_else(|| name.parse().ok())
}

/// The name of a group, given by number.
pub fn group_name(id: u32) -> Option<String> {
    let known = std::fs::read_to_string("/etc/group").unwrap_or_default();
    known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

/// Whether a user is listed as a member of a group. The user's own group is not listed.
pub fn is_member(user: &str, group_id: u32) -> bool {
    let known = std::fs::read_to_string("/etc/group").unwrap_or_default();
    is_member_in(&known, user, group_id)
}

fn group_in(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

fn is_member_in(text: &str, user: &str, group_id: u32) -> bool {
    text.lines().any(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, number, members] = fields[..] else { return false };
        let is_group = !user.is_empty() && number.parse() == Ok(group_id);
        is_group && members.split(',').any(|member| member.trim() == user)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "root:x:0:\ndocker:x:998:ann,ben\nbroken\nwheel:x:10:ben\n";

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_in(GROUPS, "docker"), Some(998));
        assert_eq!(group_in(GROUPS, "dock"), None);
        assert_eq!(group_in(GROUPS, "broken"), None);
    }

    #[test]
    fn members_are_those_that_are_listed() {
        assert!(is_member_in(GROUPS, "ann", 998));
        assert!(!is_member_in(GROUPS, "ann", 10));
        assert!(!is_member_in(GROUPS, "an", 998));
        assert!(!is_member_in(GROUPS, "", 0));
    }
}
