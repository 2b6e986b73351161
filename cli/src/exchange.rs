//! `botprimex venue`: the simulated exchange as a process of its own.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use model::Rate;
use rand::RngCore as _;
use venue::{Config, Credential, Faults, FeeAsset, MarketSource, PublicKey, Silence, Speed, Start, Steps};

use crate::args::{self, ReplayStart, Secret, VenueArgs};
use crate::config::UsageError;
use crate::output;
use crate::shutdown::Shutdown;

/// Plays until it is told to stop.
///
/// # Errors
/// When what it should play cannot be read, or the address is taken.
pub(crate) fn run(args: &VenueArgs) -> anyhow::Result<()> {
    let config = config(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut shutdown = Shutdown::listen()?;
        if args.credential.is_empty() {
            for Credential { key, secret } in &config.credentials {
                eprintln!("made up for this run: --credential {key}:{secret}");
            }
        }
        let venue = venue::start(config).await?;
        output::ready(&format!("http://{}", venue.address()));
        shutdown.asked().await;
        venue.stop().await;
        Ok(())
    })
}

fn config(args: &VenueArgs) -> anyhow::Result<Config> {
    refuse_twice("--credential", args.credential.iter().map(|credential| credential.key.clone()))?;
    refuse_twice("--balance", args.balance.iter().map(|balance| balance.asset.clone()))?;
    refuse_twice("--pairs", args.pairs.iter().map(ToString::to_string))?;
    let (mut credentials, mut public_keys) = (Vec::new(), Vec::new());
    for args::Credential { key, secret } in &args.credential {
        match secret {
            Secret::Shared(secret) => {
                credentials.push(Credential { key: key.clone(), secret: secret.clone() });
            }
            Secret::Ed25519(file) => {
                let shown = file.display();
                let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
                public_keys.push(PublicKey::from_pem(key, &pem).with_context(|| shown.to_string())?);
            }
        }
    }
    if args.credential.is_empty() {
        credentials.push(made_up());
    }
    let balances: Vec<_> = args.balance.iter().map(|held| (held.asset.clone(), held.amount)).collect();
    let default = Steps::default();
    let market = if args.replay.is_empty() {
        MarketSource::RandomWalk { pairs: args.pairs.clone() }
    } else {
        let start = match args.start {
            ReplayStart::Subscribe => Start::Subscribe,
            ReplayStart::Now => Start::Now,
        };
        MarketSource::Replay { files: args.replay.clone(), pair: args.pairs.first().cloned(), start }
    };
    Ok(Config {
        listen: args.listen,
        market,
        speed: speed(args.speed),
        seed: args.seed,
        balances: if balances.is_empty() { Config::default().balances } else { balances },
        fee: Rate::from_pct(args.fee)?,
        credentials,
        public_keys,
        steps: Steps {
            tick_size: args.tick_size.unwrap_or(default.tick_size),
            lot_step: args.lot_step.unwrap_or(default.lot_step),
            min_notional: args.min_notional.unwrap_or(default.min_notional),
        },
        faults: faults(args),
        volatility: args.volatility,
        fee_asset: match args.fee_asset {
            args::FeeAsset::Received => FeeAsset::Received,
            args::FeeAsset::Quote => FeeAsset::Quote,
            args::FeeAsset::Bnb => FeeAsset::Bnb,
        },
        fee_coin: args.fee_coin.clone(),
        can_withdraw: args.allow_withdrawals,
        control: args.control,
    })
}

/// Refuses a flag that is given twice for the same thing: one of them would be ignored, or both count.
fn refuse_twice(flag: &str, given: impl Iterator<Item = String>) -> Result<(), UsageError> {
    let mut seen = HashSet::new();
    for name in given {
        if seen.contains(&name) {
            return Err(UsageError::new(format!("`{flag}` is given twice for {name}: give it once")));
        }
        seen.insert(name);
    }
    Ok(())
}

fn faults(args: &VenueArgs) -> Faults {
    let silence = |args::Silence { symbol, after_s }: &args::Silence| Silence {
        symbol: symbol.clone(),
        after: Duration::from_secs(*after_s),
    };
    Faults {
        drop_connection_every: args.drop_connection_every.map(Duration::from_secs),
        latency: Duration::from_millis(args.latency_ms),
        reject_rate: args.reject_rate,
        lose_ack_rate: args.lose_ack_rate,
        late_ack_rate: args.late_ack_rate,
        late_ack: Duration::from_millis(args.late_ack_ms),
        duplicate_rate: args.duplicate_rate,
        reorder_rate: args.reorder_rate,
        drop_report_rate: args.drop_report_rate,
        partial_fills: args.partial_fills,
        thin_rate: args.thin_rate,
        hide: Duration::from_millis(args.hide_ms),
        hide_rate: args.hide_rate,
        silence: args.silence.iter().map(silence).collect(),
        ban_after: args.ban_after,
        ban: Duration::from_secs(args.ban_s),
        rate_limit_rate: args.rate_limit_rate,
    }
}

/// A speed as the venue takes it.
pub(crate) const fn speed(speed: args::Speed) -> Speed {
    match speed {
        args::Speed::Times(times) => Speed::Times(times),
        args::Speed::Max => Speed::Max,
    }
}

/// A key and a secret that nobody has.
pub(crate) fn made_up() -> Credential {
    let mut bytes = [0; 64];
    rand::rng().fill_bytes(&mut bytes);
    let (key, secret) = bytes.split_at(32);
    Credential { key: hex::encode(key), secret: hex::encode(secret) }
}
