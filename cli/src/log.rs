//! The log on stderr: what it tells, and how.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use serde::Deserialize;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::UsageError;
use crate::output;

/// How a line of the log looks.
#[derive(Deserialize, ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: a JSON object a line.
    Json,
}

/// What is told unless something else is asked for.
pub(crate) const USUAL: &str = "info,actix_server=warn,sqlx=warn";

/// Libraries that would write whole messages, keys and signatures in them, into the log. Whatever is asked for,
/// they are heard from `info` on.
const TALKATIVE: [&str; 5] = ["tungstenite", "tokio_tungstenite", "hyper", "hyper_util", "reqwest"];

/// Where the HTTP library reports requests that are none (it answers them itself, with an empty 400) and connections that
/// break, as errors: those are the clients' doing, and are heard from `debug` on.
const CLIENT_FAULTS: &str = "actix_http::h1::dispatcher";

/// Begins the log. It goes to stderr, so that stdout carries data alone, and is colored only on a terminal.
///
/// # Errors
/// [`UsageError`] for a filter that makes no sense.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), UsageError> {
    let filter = parsed(filter)?;
    let layer = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            let is_colored = output::colours(std::io::stderr().is_terminal());
            tracing_subscriber::registry().with(filter).with(layer.with_ansi(is_colored)).init();
        }
        LogFormat::Json => {
            tracing_subscriber::registry().with(filter).with(layer.json().with_ansi(false)).init();
        }
    }
    Ok(())
}

/// A filter: levels, and targets with their levels, separated by commas.
fn parsed(text: &str) -> Result<Targets, UsageError> {
    let mut filter = Targets::new();
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None => (None, directive),
        };
        let level = level_of(level).map_err(|why| refused(text, &why))?;
        filter = match target {
            Some("") => return Err(refused(text, &format!("`{directive}` names no target before the `=`"))),
            Some(target) => filter.with_target(target, level),
            None => filter.with_default(level),
        };
    }
    for target in TALKATIVE {
        let least = filter.default_level().unwrap_or(LevelFilter::OFF).min(LevelFilter::INFO);
        filter = filter.with_target(target, least);
    }
    let is_looked_into = filter.default_level().is_some_and(|level| level >= LevelFilter::DEBUG);
    if !is_looked_into && !text.contains(CLIENT_FAULTS) {
        filter = filter.with_target(CLIENT_FAULTS, LevelFilter::OFF);
    }
    Ok(filter)
}

fn level_of(word: &str) -> Result<LevelFilter, String> {
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    let Some(word) = known.into_iter().find(|known| known.eq_ignore_ascii_case(word)) else {
        return Err(format!(
            "expected one of {}, or TARGET=LEVEL such as engine=debug, got `{word}`",
            known.join(", ")
        ));
    };
    let level: LevelFilter = word.parse().unwrap_or(LevelFilter::INFO);
    if level > STATIC_MAX_LEVEL {
        return Err(format!("`{word}` is not in this build, which tells {STATIC_MAX_LEVEL} at most"));
    }
    Ok(level)
}

fn refused(filter: &str, why: &str) -> UsageError {
    UsageError::new(format!("the log filter `{filter}` (--log, BOTPRIMEX_LOG) makes no sense: {why}"))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_is_levels_and_targets_with_their_levels() {
        let filter = parsed(USUAL).unwrap();
        assert!(filter.would_enable("engine::actors", &Level::INFO));
        assert!(!filter.would_enable("engine::actors", &Level::DEBUG));
        assert!(!filter.would_enable("sqlx::query", &Level::INFO));
        let filter = parsed("warn, engine=debug").unwrap();
        assert!(
            filter.would_enable("engine::actors", &Level::DEBUG) && !filter.would_enable("api", &Level::INFO)
        );
        assert!(parsed("").is_ok() && parsed("OFF").is_ok());
    }

    #[test]
    fn what_is_no_filter_is_refused_by_name() {
        for (text, named) in
            [("loud", "`loud`"), ("engine=loud", "`loud`"), ("=debug", "`=debug`"), ("info,5", "`5`")]
        {
            let told = parsed(text).unwrap_err().to_string();
            assert!(
                told.contains(named) && told.contains("BOTPRIMEX_LOG") && !told.contains('\u{1b}'),
                "{told}"
            );
        }
    }

    #[test]
    fn what_clients_do_wrong_is_no_error_of_the_server() {
        for text in [USUAL, "info", "warn,engine=debug", ""] {
            let filter = parsed(text).unwrap();
            assert!(!filter.would_enable(CLIENT_FAULTS, &Level::ERROR), "{text}");
            assert!(filter.would_enable("actix_http::h1", &Level::ERROR) || text.is_empty(), "{text}");
        }
        let asked = parsed(&format!("info,{CLIENT_FAULTS}=error")).unwrap();
        assert!(asked.would_enable(CLIENT_FAULTS, &Level::ERROR));
    }

    #[test]
    fn libraries_that_would_tell_keys_are_heard_from_info_on() {
        for text in ["debug", "hyper=debug,debug"] {
            let filter = parsed(text).unwrap();
            assert!(!filter.would_enable("hyper::client", &Level::DEBUG), "{text}");
            assert!(filter.would_enable("hyper::client", &Level::INFO), "{text}");
        }
        assert!(!parsed("warn").unwrap().would_enable("hyper::client", &Level::INFO));
    }
}
