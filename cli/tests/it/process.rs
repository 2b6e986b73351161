//! A process of the binary that is killed with its test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// A server that said that it is ready.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

/// A master key for servers that would otherwise make one in the folder that all tests share.
pub(crate) const MASTER_KEY: &str = "0012345678901357902468013579246801122334455667788990019283746501";

/// The binary, to be given arguments.
pub(crate) fn botprimex(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_botprimex"));
    command.args(arguments).env("BOTPRIMEX_LOG", "warn").env_remove("DATABASE_URL");
    // Where the database is no file, what lies beside it lies in the working folder: not among the sources.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    botprimex(arguments).stdin(Stdio::null()).output().unwrap()
}

impl Process {
    /// Starts it and waits for its `READY` line.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_talking_to(Stdio::null(), command)
    }

    /// Likewise; what it says on stderr goes there.
    pub(crate) fn start_talking_to(stderr: impl Into<Stdio>, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.ok()?.strip_prefix("READY ").map(str::to_owned)).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself; how it did.
    pub(crate) async fn ended(mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; whether it ended well.
    pub(crate) fn stop(self) -> bool {
        self.signal("-TERM").success()
    }

    /// SIGSTOP: it does nothing from here on, and its connections stay.
    pub(crate) fn pause(&self) {
        self.send("-STOP");
    }

    /// SIGCONT: it goes on where it was.
    pub(crate) fn resume(&self) {
        self.send("-CONT");
    }

    /// SIGABRT; how it ended.
    pub(crate) fn abort(self) -> ExitStatus {
        self.signal("-ABRT")
    }

    fn signal(mut self, signal: &str) -> ExitStatus {
        self.send(signal);
        self.child.wait().unwrap()
    }

    fn send(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
