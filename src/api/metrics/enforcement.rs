//! Counts what enforcement looks at and does. Owns its series. Face: `EnforcementSeries`. Never takes a
//! label from input: rungs, outcomes and reasons are enums.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounterVec, Registry};

use super::{Metric, counters, histogram, histograms};

/// Seconds; a verdict is due within one, what follows from it within three.
const DELAY_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 10.0, 60.0];

/// The series of enforcement.
#[derive(Debug)]
pub(super) struct EnforcementSeries {
    looks: IntCounterVec,
    verdict_delay: Histogram,
    actions: IntCounterVec,
    action_delay: HistogramVec,
    refusals: IntCounterVec,
    sweep_duration: Histogram,
}

impl EnforcementSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            looks: counters(registry, Metric::EnforcementLooks)?,
            verdict_delay: histogram(registry, Metric::EnforcementVerdictDelay, DELAY_BUCKETS)?,
            actions: counters(registry, Metric::EnforcementActions)?,
            action_delay: histograms(registry, Metric::EnforcementActionDelay, DELAY_BUCKETS)?,
            refusals: counters(registry, Metric::EnforcementRefusals)?,
            sweep_duration: histogram(registry, Metric::EnforcementSweepDuration, DELAY_BUCKETS)?,
        })
    }

    pub(super) fn judged(&self, outcome: &str, delay: Option<Duration>) {
        self.looks.with_label_values(&[outcome]).inc();
        if let Some(delay) = delay {
            self.verdict_delay.observe(delay.as_secs_f64());
        }
    }

    pub(super) fn acted(&self, rung: &str, delay: Option<Duration>) {
        self.actions.with_label_values(&[rung]).inc();
        if let Some(delay) = delay {
            self.action_delay.with_label_values(&[rung]).observe(delay.as_secs_f64());
        }
    }

    pub(super) fn refused(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    pub(super) fn swept(&self, took: Duration) {
        self.sweep_duration.observe(took.as_secs_f64());
    }
}
