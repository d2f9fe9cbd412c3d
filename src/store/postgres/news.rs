//! Says what agents of one database tell each other. Owns the words of a notification. Face: `News`,
//! `Topic`, `Topics`. Never says what happened, only where to look: what is told is read again.

use std::collections::BTreeSet;

use crate::base::ids::HostId;

/// Where to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// There is work to take, now or later, or room for it.
    Work,
    /// Somebody asked for a run to be cancelled.
    Cancel,
    /// There are deliveries of alerts to send, or rules changed.
    Alert,
    /// A schedule was changed, or a run ended that one asked for.
    Schedule,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Work, Self::Cancel, Self::Alert, Self::Schedule];

    /// Its word in a notification.
    fn word(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Cancel => "cancel",
            Self::Alert => "alert",
            Self::Schedule => "schedule",
        }
    }
}

/// How often was told of each topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News([u64; Topic::ALL.len()]);

impl News {
    /// Whether more was told of a topic than `before`.
    pub fn is_told(&self, topic: Topic, before: &Self) -> bool {
        self.0[topic as usize] != before.0[topic as usize]
    }

    /// Something was told of these.
    pub(super) fn add(&mut self, topics: &Topics) {
        for topic in topics {
            let count = &mut self.0[*topic as usize];
            *count = count.wrapping_add(1);
        }
    }
}

/// What a transaction tells of.
pub(super) type Topics = BTreeSet<Topic>;

/// The text of a notification.
pub(super) fn said(host: &str, topics: &Topics) -> String {
    let words = topics.iter().map(|topic| topic.word());
    std::iter::once(host).chain(words).collect::<Vec<_>>().join(" ")
}

/// What another agent tells; nothing of what `own` told itself. An agent of another version may say
/// words that are not known here.
pub(super) fn heard(text: &str, own: HostId) -> Topics {
    let mut words = text.split(' ');
    if words.next().and_then(|host| host.parse().ok()) == Some(own) {
        return Topics::new();
    }
    let topic = |word| Topic::ALL.into_iter().find(|topic| topic.word() == word);
    words.filter_map(topic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_by_others_alone() {
        let (own, other) = (HostId::from_u128(1), HostId::from_u128(2));
        let topics = Topics::from([Topic::Cancel, Topic::Schedule]);
        let text = said(&other.to_string(), &topics);
        assert_eq!(heard(&text, own), topics);
        assert_eq!(heard(&text, other), Topics::new());
        assert_eq!(heard(&format!("{text} weather"), own), topics, "a word of a newer version");
        assert_eq!(heard("", own), Topics::new());
    }

    #[test]
    fn news_tell_which_topic_they_are_of() {
        let (mut news, before) = (News::default(), News::default());
        news.add(&Topics::from([Topic::Alert]));
        let told: Vec<_> =
            Topic::ALL.into_iter().filter(|topic| news.is_told(*topic, &before)).collect();
        assert_eq!(told, [Topic::Alert]);
    }
}
