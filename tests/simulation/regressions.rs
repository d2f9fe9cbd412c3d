//! Seeds of whole agents that failed once, each with what it found. Owns the list. Face:
//! `REGRESSIONS`. Never the only proof: a change of the scripts changes what a seed tells, so that
//! each cause has a test of its own beside it.

/// Lived before all others.
pub(crate) const REGRESSIONS: [(u64, &str); 14] = [
    (803, "told by the scripts before programs used the queue: projects and their runs"),
    (1409, "the same"),
    (3258, "the same"),
    (5, "a bulk run that was cancelled before it began left its jobs open"),
    (7, "the same, of one that a newer run superseded"),
    (67, "a bulk run lost its lock to another run while it waited for its jobs"),
    (118, "a worker was told that its end counts after recovery had ended the run alike"),
    (251, "a run lost its lock while no agent was there to renew it"),
    (
        3226,
        "the check took a job for counted that was cancelled between its failure and the answer",
    ),
    (
        1604,
        "the check took a request for older than it was: the clock jumped before its acceptance",
    ),
    (299, "a look at the run delayed a job's sign of life, and its lease had lapsed meanwhile"),
    (606, "the same, of a run"),
    (3110, "the check took a run for stuck that convergence had just begun"),
    (3707, "a replacement that only its engine had failed was never tried again"),
];
