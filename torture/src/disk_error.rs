//! A disk that fails: while bots trade, the kernel answers what the server writes or syncs with an input/output error
//! (injected by strace). No order may be at the exchange that the journal does not have; the server ends by itself
//! with an error, and goes on after a start.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::books::Database;
use crate::kills::{Plan, Stage};
use crate::oracle::{self, Violations};
use crate::process::pause;
use crate::server::Life;

/// How long a server may live on with a disk that fails: every commit meets it.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// A way for the disk to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) what: &'static str,
    /// Of the database, by what follows its name.
    file: &'static str,
    calls: &'static str,
    /// For every call from the nth on, or for that one alone.
    is_lasting: bool,
    /// Whether the server can do without.
    is_survived: bool,
}

/// Those that are tried.
pub(crate) const FAULTS: [Fault; 6] = [
    Fault {
        what: "a sync of the log, once",
        file: "-wal",
        calls: "fdatasync,fsync",
        is_lasting: false,
        is_survived: false,
    },
    Fault {
        what: "every sync of the log",
        file: "-wal",
        calls: "fdatasync,fsync",
        is_lasting: true,
        is_survived: false,
    },
    Fault {
        what: "a write into the log, once",
        file: "-wal",
        calls: "pwrite64",
        is_lasting: false,
        is_survived: false,
    },
    Fault {
        what: "every write into the log",
        file: "-wal",
        calls: "pwrite64",
        is_lasting: true,
        is_survived: false,
    },
    Fault {
        what: "a sync of the file, once",
        file: "",
        calls: "fdatasync,fsync",
        is_lasting: false,
        is_survived: false,
    },
    Fault {
        what: "every note of what is sent",
        file: ".sent",
        calls: "write",
        is_lasting: true,
        is_survived: true,
    },
];

/// What came of one.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    /// How long the server lived on, where it did not survive.
    pub(crate) ended_after: Option<Duration>,
    pub(crate) orders: usize,
    pub(crate) recovery: Duration,
}

/// Lets the disk fail in every way; what each came to, and what the oracle says in the end.
pub(crate) async fn run(plan: &Plan, folder: &Path) -> Result<(Vec<Failed>, Violations)> {
    if plan.postgres.is_some() {
        bail!("only a database that is a file can be made to fail");
    }
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut violations = Violations::default();
    let (stage, mut life) = Stage::set(plan, folder).await?;
    let database = folder.join("books.db");
    let mut all = Vec::new();
    for fault in FAULTS {
        pause(Duration::from_millis(dice.random_range(1_000..2_500)));
        let ended_after = fail(fault, &database, &mut life, dice.random_range(1..20))
            .with_context(|| format!("at {}", fault.what))?;
        let orders = unjournaled(&stage, &database, ended_after.is_some(), &mut violations).await?;
        if ended_after.is_some() {
            life = stage.server.live().await.with_context(|| format!("after {}", fault.what))?;
        }
        eprintln!("torture: {}: ended after {ended_after:?}", fault.what);
        all.push(Failed { fault, ended_after, orders, recovery: life.recovery });
    }
    pause(Duration::from_secs(2));
    stage.close(life, &mut violations).await?;
    violations.merge(stage.judge().await?.2);
    Ok((all, violations))
}

/// Makes calls fail until the server ends by itself, or has lived on long enough; how long it did.
fn fail(fault: Fault, database: &Path, life: &mut Life, nth: u32) -> Result<Option<Duration>> {
    let began = Instant::now();
    let mut strace = Strace::attach(fault, database, life.id(), nth)?;
    let survives_for = Duration::from_secs(3);
    loop {
        if life.has_ended()? {
            return Ok(Some(began.elapsed()));
        }
        if fault.is_survived && began.elapsed() > survives_for {
            strace.let_go()?;
            return Ok(None);
        }
        if began.elapsed() > ENDS_WITHIN {
            bail!("the server lived on for {} s", ENDS_WITHIN.as_secs());
        }
        pause(Duration::from_millis(10));
    }
}

/// Holds the exchange's orders against the journal as it lies on the disk; how many there are. That of a server that has
/// ended is read from a copy: whoever opens its database recovers it, and that is the next server's work.
async fn unjournaled(
    stage: &Stage,
    database: &Path,
    has_ended: bool,
    violations: &mut Violations,
) -> Result<usize> {
    // First, so that the journal is the newer one.
    let ledger = stage.exchange.ledger(&stage.server.http).await?;
    let mut read = database.to_owned();
    if has_ended {
        read.set_extension("copy");
        // Where it could still close its database, there is no log any more.
        for end in ["", "-wal"].into_iter().filter(|end| beside(database, end).exists()) {
            std::fs::copy(beside(database, end), beside(&read, end))?;
        }
    }
    let journal = Database::open(&format!("sqlite://{}", read.display())).await?;
    let books = journal.read().await?;
    journal.close().await;
    oracle::unjournaled(&ledger, &books, violations);
    Ok(ledger.orders.len())
}

fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

/// What makes the calls fail, attached to the server.
struct Strace(Child);

impl Strace {
    fn attach(fault: Fault, database: &Path, process: u32, nth: u32) -> Result<Self> {
        let Fault { file, calls, is_lasting, .. } = fault;
        let when = if is_lasting { format!("{nth}+") } else { nth.to_string() };
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-o", "/dev/null", "-p", &process.to_string()]);
        command.arg("-P").arg(beside(database, file));
        command.args(["-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error=EIO:when={when}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(child.context("strace does not start")?))
    }

    /// Lets the server go on as it was.
    fn let_go(&mut self) -> Result<()> {
        Command::new("kill").args(["-s", "INT", &self.0.id().to_string()]).status()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It ends with what it is attached to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
