//! A server that a chore starts, waits for, and stops again.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const STARTS_WITHIN: Duration = Duration::from_mins(1);
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// Where a server says that it can be used.
#[derive(Clone, Copy)]
pub(crate) enum Talks {
    Stdout,
    Stderr,
}

/// A running server; it is told to stop when this is dropped.
///
/// The kernel sends it the same signal when this process dies without dropping anything.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    signal: &'static str,
}

impl Server {
    /// Starts `program` and waits for the line that has `ready` in it, which it returns as well.
    ///
    /// `signal` (`TERM`, `INT`) is what stops it cleanly; `as_user` is who it runs as.
    pub(crate) fn start(
        program: &[&str],
        as_user: Option<&str>,
        signal: &'static str,
        talks: Talks,
        ready: &str,
    ) -> Result<(Self, String)> {
        let words = command(program, as_user, signal);
        let (setpriv, arguments) = words.split_first().context("no command")?;
        let mut command = Command::new(setpriv);
        // Servers' own words are matched, so they are asked for in English.
        command.args(arguments).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        match talks {
            Talks::Stdout => command.stdout(Stdio::piped()),
            Talks::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let name = program.first().copied().unwrap_or_default();
        let mut child = command.spawn().context("setpriv (Debian: util-linux) does not start")?;
        let lines = match talks {
            Talks::Stdout => lines_of(child.stdout.take().context("no stdout")?),
            Talks::Stderr => lines_of(child.stderr.take().context("no stderr")?),
        };
        let server = Self { child, lines, signal };
        let line = server.wait_for(ready).with_context(|| format!("{name} did not become ready"))?;
        Ok((server, line))
    }

    fn wait_for(&self, ready: &str) -> Result<String> {
        let deadline = Instant::now() + STARTS_WITHIN;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(ready) => return Ok(line),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("it only said: {}", said.join("\n")),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended and said: {}", said.join("\n")),
            }
        }
    }

    /// Tells it to stop, and ends it where it does not.
    fn stop(&mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-s", self.signal, &id]).status()?;
        let deadline = Instant::now() + STOPS_WITHIN;
        // Its last line is followed by the end of its pipe, which is when it is gone.
        let ended = loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        if !ended {
            self.child.kill()?;
        }
        self.child.wait()?;
        if !ended {
            bail!("it was killed: it had not stopped {} s after SIG{}", STOPS_WITHIN.as_secs(), self.signal);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("xtask: a server did not stop: {error:#}");
        }
    }
}

/// What starts a program as somebody, so that the kernel sends it `signal` when the process that started it dies.
pub(crate) fn command(program: &[&str], as_user: Option<&str>, signal: &str) -> Vec<String> {
    let mut command = vec!["setpriv", "--pdeathsig", signal];
    if let Some(user) = as_user {
        command.extend(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.push("--");
    command.extend(program);
    command.into_iter().map(str::to_owned).collect()
}

/// Reads a pipe on a thread until its end, so that the server never waits for a reader.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listening is no reason to stop reading.
            drop(sender.send(line));
        }
    });
    lines
}
