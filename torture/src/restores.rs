//! Backups that are restored under an exchange that moved on: copies are taken while bots trade, the server is killed a
//! while later, and goes on from the copy. At the end the books are the exchange's.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sqlx::{Connection as _, SqliteConnection};

use crate::exchange::Ledger;
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::process::pause;

/// How much of the past a copy may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses {
    pub(crate) count: usize,
    pub(crate) longest: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) restores: usize,
    pub(crate) took: Duration,
    /// From a start on a copy until it could be used; sorted.
    pub(crate) recoveries: Vec<Duration>,
    /// How many executions the copies lacked, all together.
    pub(crate) lost: usize,
    pub(crate) ledger: Ledger,
    pub(crate) troubles: Vec<String>,
    pub(crate) violations: Violations,
}

/// Runs a plan to its end.
pub(crate) async fn run(plan: &Plan, losses: Losses, folder: &Path) -> Result<Restored> {
    let began = Instant::now();
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let (stage, mut life) = Stage::set(plan, folder).await?;
    let (mut recoveries, mut lost) = (Vec::new(), 0);
    for restore in 1..=losses.count {
        pause(Duration::from_millis(dice.random_range(1_000..3_000)));
        let copy = folder.join(format!("copy-{restore}.db"));
        stage.server.admin(&["backup", &format!("--to={}", copy.display())])?;
        let before = stage.exchange.ledger(&stage.server.http).await?.fills.len();
        let most = u64::try_from(losses.longest.as_millis()).unwrap_or(u64::MAX).max(1_001);
        pause(Duration::from_millis(dice.random_range(1_000..most)));
        life.kill().with_context(|| format!("before restore {restore}"))?;
        lost += stage.exchange.ledger(&stage.server.http).await?.fills.len() - before;
        // Every other copy does not say that it is one, as one that was made in another way.
        put_back(&copy, folder, restore % 2 == 0).await?;
        life = stage.server.live().await.with_context(|| format!("after restore {restore}"))?;
        recoveries.push(life.recovery);
        eprintln!(
            "torture: restore {restore}, ready in {} ms, {lost} executions lost so far",
            life.recovery.as_millis()
        );
    }
    let mut violations = Violations::default();
    let troubles = stage.close(life, &mut violations).await?;
    let (ledger, _, judged) = stage.judge().await?;
    violations.merge(judged);
    // What a copy lacks of the journal it lacks for good.
    violations.forget("orders without intent");
    if lost == 0 {
        bail!("no copy lacked anything, so nothing is proven: see {}", stage.server.log.display());
    }
    recoveries.sort_unstable();
    Ok(Restored {
        restores: losses.count,
        took: began.elapsed(),
        recoveries,
        lost,
        ledger,
        troubles,
        violations,
    })
}

/// Puts a copy where the server's database was.
async fn put_back(copy: &Path, folder: &Path, is_silent: bool) -> Result<()> {
    let books = folder.join("books.db");
    for end in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{end}", books.display()));
        if beside.exists() {
            std::fs::remove_file(beside)?;
        }
    }
    std::fs::copy(copy, &books)?;
    if is_silent {
        let mut books = SqliteConnection::connect(&format!("sqlite://{}", books.display())).await?;
        sqlx::query("DELETE FROM restored").execute(&mut books).await?;
        books.close().await?;
    }
    Ok(())
}
