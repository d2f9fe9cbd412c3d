//! Writes the agent's log to standard error. Owns its format and level. Face: `Logs`. Never writes to
//! a file: the service manager keeps and rotates what a service says.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

use super::config::{LogFormat, LogLevel};

/// The log of this process.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    level: reload::Handle<LevelFilter, Registry>,
}

impl Logs {
    /// Starts the log. Once per process.
    pub(super) fn start(format: LogFormat, level: LogLevel) -> Result<Self, TryInitError> {
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = fmt::layer().with_writer(std::io::stderr);
        let registry = tracing_subscriber::registry().with(filter);
        match format {
            LogFormat::Text => registry.with(lines.with_target(false).with_ansi(false)).try_init(),
            LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        }?;
        Ok(Self { level: handle })
    }

    /// Changes the level from now on.
    pub(super) fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.level.reload(filter(level)) {
            tracing::error!(%error, "log level not changed");
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
