//! Sums up what the engine tells while it fetches an image. Owns how often a line is worth telling.
//! Face: `PullProgress`. Never keeps more than the layers of one image.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::CreateImageInfo;
use tokio::time::Instant;

use super::failure::one_line;
use crate::base::limits::PULL_LAYERS_MAX;

/// Shortest time between two lines about the same image.
const PAUSE: Duration = Duration::from_millis(500);

/// How far an image has come. The engine reports each layer several times a second; a follower hears of
/// all of them at once, now and then.
#[derive(Debug, Default)]
pub(super) struct PullProgress {
    layers: BTreeMap<String, Layer>,
    told_at: Option<Instant>,
    last: String,
}

#[derive(Debug, Default, Clone, Copy)]
struct Layer {
    done_bytes: u64,
    total_bytes: u64,
    is_done: bool,
}

impl PullProgress {
    /// Takes a report; the answer is a line that is worth telling now.
    pub(super) fn take(&mut self, report: &CreateImageInfo, now: Instant) -> Option<String> {
        let status = report.status.as_deref()?;
        let Some(id) = report.id.as_ref().filter(|_| !status.starts_with("Pulling from")) else {
            // About the image itself: its digest, or that it is there.
            return Some(one_line(status));
        };
        let is_known = self.layers.contains_key(id);
        if !is_known && self.layers.len() >= PULL_LAYERS_MAX {
            return None;
        }
        let layer = self.layers.entry(id.clone()).or_default();
        let detail = report.progress_detail.as_ref();
        let bytes = |value: Option<i64>| value.and_then(|it| u64::try_from(it).ok());
        match status {
            "Downloading" => {
                let found = detail.and_then(|it| Some((bytes(it.current)?, bytes(it.total)?)));
                if let Some((done, total)) = found {
                    (layer.done_bytes, layer.total_bytes) = (done.min(total), total);
                }
            }
            "Download complete" | "Extracting" => layer.done_bytes = layer.total_bytes,
            "Pull complete" | "Already exists" => {
                layer.done_bytes = layer.total_bytes;
                layer.is_done = true;
            }
            _ => {}
        }
        let is_early = self.told_at.is_some_and(|told_at| now < told_at + PAUSE);
        let is_all = self.layers.values().all(|layer| layer.is_done);
        let line = self.line();
        if line == self.last || is_early && !is_all {
            return None;
        }
        (self.told_at, self.last) = (Some(now), line.clone());
        Some(line)
    }

    fn line(&self) -> String {
        let layers = self.layers.values();
        let done = layers.clone().filter(|layer| layer.is_done).count();
        let (bytes, total) = layers.fold((0u64, 0u64), |(bytes, total), layer| {
            (bytes.saturating_add(layer.done_bytes), total.saturating_add(layer.total_bytes))
        });
        let mut line = format!("{done} of {} layers", self.layers.len());
        if total > 0 {
            line.push_str(&format!(", {} of {}", mib(bytes), mib(total)));
        }
        line
    }
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        let detail =
            bytes.map(|(current, total)| format!(r#"{{"current":{current},"total":{total}}}"#));
        let detail = detail.unwrap_or_else(|| "{}".to_owned());
        let text = format!(r#"{{"id":"{id}","status":"{status}","progressDetail":{detail}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn thousands_of_reports_become_a_few_lines_that_end_with_all_layers() {
        let (mut progress, begin) = (PullProgress::default(), Instant::now());
        let mut lines = Vec::new();
        for id in ["a", "b"] {
            lines.extend(progress.take(&report(id, "Pulling fs layer", None), begin));
        }
        for step in 0..2000_i64 {
            let now = begin + Duration::from_millis(u64::try_from(step).unwrap());
            for id in ["a", "b"] {
                let bytes = Some((step * 1024, 2000 * 1024));
                lines.extend(progress.take(&report(id, "Downloading", bytes), now));
            }
        }
        let end = begin + Duration::from_secs(2);
        for id in ["a", "b"] {
            lines.extend(progress.take(&report(id, "Pull complete", None), end));
        }
        assert!((4..=7).contains(&lines.len()), "{lines:?}");
        assert_eq!(lines.first().unwrap(), "0 of 1 layers");
        assert_eq!(lines.last().unwrap(), "2 of 2 layers, 3.9 MiB of 3.9 MiB");
    }

    #[test]
    fn what_is_said_of_the_image_itself_is_told_and_layers_are_bounded() {
        let (mut progress, now) = (PullProgress::default(), Instant::now());
        let digest: CreateImageInfo =
            serde_json::from_str(r#"{"status":"Digest: sha256:00\n"}"#).unwrap();
        assert_eq!(progress.take(&digest, now).as_deref(), Some("Digest: sha256:00"));
        let from = report("1", "Pulling from team/web", None);
        assert_eq!(progress.take(&from, now).as_deref(), Some("Pulling from team/web"));
        for layer in 0..PULL_LAYERS_MAX + 10 {
            progress.take(&report(&format!("layer-{layer}"), "Waiting", None), now);
        }
        assert_eq!(progress.layers.len(), PULL_LAYERS_MAX);
    }
}
