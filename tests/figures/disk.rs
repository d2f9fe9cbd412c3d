//! Measures the disk itself. Owns one file. Face: `syncs_per_second`, `place`. Never asks for more
//! than what a durable commit asks for.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MEASURED: Duration = Duration::from_secs(2);

/// A folder on the disk that the build is on: `/tmp` may be memory.
pub fn place() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// How often 4 KiB can be appended and brought to the disk, one after the other.
pub fn syncs_per_second(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("syncs")).unwrap();
    let page = [7_u8; 4096];
    let begin = Instant::now();
    let mut count = 0_u32;
    while begin.elapsed() < MEASURED {
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}
