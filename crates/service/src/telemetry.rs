//! Log lines on standard error: for people on a terminal, as JSON for machines otherwise.
//!
//! Secrets never get here: types that hold one do not show it in `Debug`.

use std::io::IsTerminal;

use postroad_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The log cannot be set up as wanted.
#[derive(Debug, thiserror::Error)]
#[error("[log] filter {filter:?}: {source}; expected such as \"info,postroad_mta=debug\"")]
pub struct TelemetryError {
    filter: String,
    source: ParseError,
}

/// Begins to log. In a process where somebody else did so already (a test), that stays.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let wrong = |source| TelemetryError { filter: log.filter.clone(), source };
    let filter = EnvFilter::try_new(&log.filter).map_err(wrong)?;
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that a subscriber is set already.
    let _ = if human {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    Ok(())
}

/// A panic becomes a log line like any other, so that it is seen where logs are read. It ends the task that it
/// happened in, a session or a delivery, and nothing else.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "a fault of Postroad's own ended a task, please report it: {text}");
    }));
}
