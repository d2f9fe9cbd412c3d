//! Computes how severe a vulnerability is by CVSS 4.0 (specification 4.0, section 8): a score for each kind of
//! vulnerability, less as far as the vector lies below the worst of its kind. Owns that table, as far as base
//! metrics reach it. Face: `base_score`. Never guesses a metric that is missing.

/// Scores in tenths: by exploitability (two sets), by impact on the vulnerable system with the requirements
/// (`IMPACTS`), and by impact on later systems: high, else low.
const SCORES: [[[u8; 2]; 5]; 6] = [
    [[100, 93], [96, 90], [93, 88], [92, 80], [79, 69]],
    [[95, 92], [91, 81], [92, 84], [82, 70], [71, 63]],
    [[94, 87], [89, 75], [86, 72], [76, 57], [65, 53]],
    [[90, 77], [77, 66], [74, 61], [59, 52], [58, 23]],
    [[86, 70], [74, 54], [72, 53], [57, 36], [47, 24]],
    [[73, 54], [55, 43], [61, 46], [51, 18], [24, 10]],
];

/// Places in `SCORES`. Two of the five stand for lower requirements, which base metrics never have: they are
/// only what comes next.
const WORST: usize = 0;
const WORST_BUT_REQUIREMENTS: usize = 1;
const HIGH: usize = 2;
const HIGH_BUT_REQUIREMENTS: usize = 3;
const LOWER: usize = 4;

/// The worst vectors of each kind, in steps from the worst value of each metric, and how many steps the kind
/// is deep.
struct Kind {
    worst: &'static [[u8; 3]],
    depth: u8,
}

/// Of attack vector, privileges and interaction.
const REACH: [Kind; 3] = [
    Kind { worst: &[[0, 0, 0]], depth: 1 },
    Kind { worst: &[[1, 0, 0], [0, 1, 0], [0, 0, 1]], depth: 4 },
    Kind { worst: &[[3, 0, 0], [1, 1, 1]], depth: 5 },
];
/// Of complexity and requirements of the attack.
const EFFORT: [Kind; 2] =
    [Kind { worst: &[[0, 0, 0]], depth: 1 }, Kind { worst: &[[1, 0, 0], [0, 1, 0]], depth: 2 }];
/// Of impacts on the vulnerable system.
const IMPACTS: [Kind; 3] = [
    Kind { worst: &[[0, 0, 0]], depth: 7 },
    Kind { worst: &[[1, 0, 0], [0, 1, 0]], depth: 8 },
    Kind { worst: &[[1, 1, 1]], depth: 10 },
];
/// Of impacts on later systems.
const LATER: [Kind; 2] =
    [Kind { worst: &[[0, 0, 0]], depth: 5 }, Kind { worst: &[[1, 1, 1]], depth: 4 }];

impl Kind {
    /// How far the metrics lie below the worst of their kind, as a part of its depth.
    fn distance(&self, metrics: [u8; 3]) -> f64 {
        let below = |worst: &&[u8; 3]| worst.iter().zip(metrics).all(|(worst, it)| it >= *worst);
        let worst = self.worst.iter().find(below).unwrap_or(&metrics);
        let steps: u8 = metrics.iter().zip(worst).map(|(it, worst)| it - worst).sum();
        f64::from(steps) / f64::from(self.depth)
    }
}

/// The base score, in tenths, of what follows `CVSS:4.0/`. Metrics of threat and environment do not count.
pub(super) fn base_score(metrics: &str) -> Option<u32> {
    let steps = |name: &str, values: &str| {
        let value = metrics.split('/').find_map(|it| it.strip_prefix(name)?.strip_prefix(':'))?;
        let is_one = value.len() == 1;
        values.find(value).filter(|_| is_one).and_then(|at| u8::try_from(at).ok())
    };
    let reach = [steps("AV", "NALP")?, steps("PR", "NLH")?, steps("UI", "NPA")?];
    let effort = [steps("AC", "LH")?, steps("AT", "NP")?, 0];
    let impacts = [steps("VC", "HLN")?, steps("VI", "HLN")?, steps("VA", "HLN")?];
    let later = [steps("SC", "HLN")?, steps("SI", "HLN")?, steps("SA", "HLN")?];
    if impacts == [2; 3] && later == [2; 3] {
        return Some(0);
    }
    let reach_kind = match reach {
        [0, 0, 0] => 0,
        [attack, ..] if attack != 3 && reach.contains(&0) => 1,
        _ => 2,
    };
    let effort_kind = usize::from(effort != [0; 3]);
    let (impacts_kind, place) = match impacts {
        [0, 0, _] => (0, WORST),
        _ if impacts.contains(&0) => (1, HIGH),
        _ => (2, LOWER),
    };
    let later_kind = usize::from(!later.contains(&0));
    let score = |reach: usize, effort: usize, place: usize, later: usize| {
        f64::from(SCORES[reach * 2 + effort][place][later])
    };
    let own = score(reach_kind, effort_kind, place, later_kind);
    // What the next milder kind is scored in each respect, where there is one.
    let next_reach =
        (reach_kind < 2).then(|| score(reach_kind + 1, effort_kind, place, later_kind));
    let next_effort = (effort_kind < 1).then(|| score(reach_kind, 1, place, later_kind));
    let at = |place: usize| score(reach_kind, effort_kind, place, later_kind);
    let next_impacts = match place {
        WORST => Some(at(WORST_BUT_REQUIREMENTS).max(at(HIGH))),
        HIGH => Some(at(HIGH_BUT_REQUIREMENTS)),
        _ => None,
    };
    let next_later = (later_kind < 1).then(|| score(reach_kind, effort_kind, place, 1));
    let respects = [
        (next_reach, REACH[reach_kind].distance(reach)),
        (next_effort, EFFORT[effort_kind].distance(effort)),
        (next_impacts, IMPACTS[impacts_kind].distance(impacts)),
        (next_later, LATER[later_kind].distance(later)),
    ];
    // One more respect always has a milder kind, and no distance: how mature an exploit is.
    let (mut count, mut sum) = (1.0, 0.0);
    for (next, distance) in respects {
        if let Some(next) = next {
            count += 1.0;
            sum += (own - next) * distance;
        }
    }
    // Half a tenth is rounded up, whatever binary fractions made of it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    let rounded = (own - sum / count + 0.5 + 1e-5).clamp(0.0, 100.0) as u32;
    Some(rounded)
}
