//! The import graph: rooms use only what lies below them.

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

/// What each room may use. `benches` and `xtask` look at rooms from outside.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("strategies", &["model"]),
    ("connectors", &["model"]),
    ("engine", &["model", "strategies", "connectors"]),
    ("backtest", &["model", "strategies"]),
    ("api", &["engine", "model"]),
    ("venue", &["model"]),
    ("cli", &["model", "strategies", "connectors", "engine", "backtest", "api", "venue"]),
];

/// Fails on an import that points up or across, tests excepted.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec().context("cargo metadata failed")?;
    for (room, allowed) in MAY_USE {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == room)
            .with_context(|| format!("there is no crate {room}"))?;
        for used in &package.dependencies {
            let is_room = MAY_USE.iter().any(|(name, _)| *name == used.name);
            let is_test = used.kind == cargo_metadata::DependencyKind::Development;
            if is_room && !is_test && !allowed.contains(&used.name.as_str()) {
                bail!("{room} imports {}, which does not lie below it; it may use {allowed:?}", used.name);
            }
        }
    }
    Ok(())
}
