//! A network in which nothing but this machine answers, for programs that make up addresses and send to them.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::debian;

/// A network namespace whose loopback is all that there is; it is gone when this is dropped.
pub(crate) struct Alone(String);

impl Alone {
    /// `None` where this process may not make one: who is not root, and root in most containers.
    pub(crate) fn new() -> Result<Option<Self>> {
        if !debian::is_root()? {
            return Ok(None);
        }
        debian::have("ip", "iproute2")?;
        let alone = Self(format!("xtask{}", std::process::id()));
        let is_made = ip(&["netns", "add", &alone.0])? && ip(&["-n", &alone.0, "link", "set", "lo", "up"])?;
        Ok(is_made.then_some(alone))
    }

    /// What stands before a command that is to run in it.
    pub(crate) fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.0]
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // What is left behind costs nothing, and the next one has another name.
        let _ = ip(&["netns", "del", &self.0]);
    }
}

/// Whether `ip` did it; it says itself why not.
fn ip(arguments: &[&str]) -> Result<bool> {
    Ok(Command::new("ip").args(arguments).status().context("ip does not start")?.success())
}
