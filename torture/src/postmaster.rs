//! A Postgres that is killed: its postmaster ends without a word, and is started again on the same folder.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::pause;

/// How long it may take from its start until it takes connections: what was left by the kill is recovered first.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// What it says then.
const READY: &str = "database system is ready to accept connections";

/// How long it may take to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// A running one; it is stopped with this.
#[derive(Debug)]
pub(crate) struct Postmaster {
    command: Vec<String>,
    child: Child,
}

impl Postmaster {
    /// Starts it by a command, an argument a line.
    pub(crate) fn start(command: &str) -> Result<Self> {
        let command: Vec<String> = command.lines().map(str::to_owned).collect();
        let child = start(&command)?;
        Ok(Self { command, child })
    }

    /// `kill -9`. Its backends notice by themselves, each when it looks up next; one may even finish a commit.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after that.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.child = start(&self.command)?;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status()?;
        let deadline = Instant::now() + STOPS_WITHIN;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return self.kill();
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("torture: Postgres did not stop: {error:#}");
        }
    }
}

/// Starts it until it takes connections; a backend of one that was killed may keep it from that for a moment.
fn start(command: &[String]) -> Result<Child> {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        match try_start(command, deadline) {
            Ok(child) => return Ok(child),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => pause(Duration::from_millis(50)),
        }
    }
}

fn try_start(command: &[String], deadline: Instant) -> Result<Child> {
    let (program, arguments) = command.split_first().context("no command starts Postgres")?;
    let mut command = Command::new(program);
    // Its words are matched, so it is asked for English.
    command.args(arguments).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("it has no stderr")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody listening is no reason to stop reading.
            drop(sender.send(line));
        }
    });
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(READY) => return Ok(child),
            Ok(line) => said.push(line),
            Err(_) => {
                child.kill()?;
                child.wait()?;
                bail!("Postgres did not start: {}", said.join("\n"));
            }
        }
    }
}
