//! A process of the binary: started, waited for until it is ready, killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a process may take until it says that it is ready.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// How long it may take to stop once it is told to.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// A running process; it ends with this.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// A command of the binary that the kernel kills should this process die first.
pub(crate) fn command(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(binary).args(arguments);
    command.env_remove("DATABASE_URL").stdin(Stdio::null());
    command
}

impl Process {
    /// Starts it; what it says on stderr is appended to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut child =
            command.stdout(Stdio::piped()).stderr(log).spawn().context("setpriv does not start")?;
        let stdout = child.stdout.take().context("it has no stdout")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listening is no reason to stop reading.
                drop(sender.send(line));
            }
        });
        Ok(Self { child, lines })
    }

    /// Waits for its `READY` line; the address in it.
    pub(crate) fn address(&self) -> Result<String> {
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).context("it did not say READY")?;
            if let Some(address) = line.strip_prefix("READY ") {
                return Ok(address.to_owned());
            }
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status()?;
        if !status.success() {
            bail!("SIG{name} could not be sent to process {}", self.id());
        }
        Ok(())
    }

    /// SIGTERM; an error where it does not end well within its time.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        let deadline = Instant::now() + STOPS_WITHIN;
        loop {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("it ended with {status}"),
                None if Instant::now() < deadline => pause(Duration::from_millis(10)),
                None => bail!("it had not stopped {} s after SIGTERM", STOPS_WITHIN.as_secs()),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// Does nothing for a while.
#[expect(clippy::disallowed_methods, reason = "no arbiter runs here, and nothing else waits for this thread")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
