//! Decides how long a writer waits for company before it commits. Owns the estimate of how many
//! callers there are. Face: `Company`. Never lets a lone caller wait, and never waits longer than a
//! part of what a commit takes.

use std::time::Duration;

/// The longest wait, however slow the disk is.
const PATIENCE_MAX: Duration = Duration::from_millis(1);

/// The callers of a writer, as its last commits showed them. Whoever was just served comes back a
/// moment later; a writer that does not wait that moment serves ten callers in commits of one and
/// nine by turns, and each of them waits for two commits.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Who was served last, and who waited then.
    callers: usize,
    /// What a commit takes, smoothed.
    commit: Duration,
}

impl Company {
    /// How long it is worth waiting for others when so many wait already.
    pub(super) fn patience(&self, waiting: usize) -> Option<Duration> {
        let patience = (self.commit / 2).min(PATIENCE_MAX);
        (waiting < self.callers && !patience.is_zero()).then_some(patience)
    }

    /// So many were served by a commit that took so long, and so many waited at its end.
    pub(super) fn served(&mut self, served: usize, took: Duration, waiting: usize) {
        self.callers = served + waiting;
        self.commit = (self.commit * 7 + took) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_caller_waits_for_nobody_and_many_for_each_other() {
        let mut company = Company::default();
        assert_eq!(company.patience(1), None, "nothing is known yet");
        let commit = Duration::from_micros(800);
        company.served(1, commit, 0);
        assert_eq!(company.patience(1), None);
        // Nine came while the first one was served: it comes back soon.
        company.served(1, commit, 9);
        assert!(company.patience(9).is_some_and(|patience| patience < commit));
        assert_eq!(company.patience(10), None);
        // Those who left are waited for once.
        company.served(3, commit, 0);
        assert_eq!(company.patience(3), None);
        for _ in 0..100 {
            company.served(3, Duration::from_secs(1), 0);
        }
        assert_eq!(company.patience(1), Some(PATIENCE_MAX));
    }
}
