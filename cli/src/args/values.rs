//! What the text of a flag stands for.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;

use model::Timestamp;
use rust_decimal::Decimal;

/// A moment, or how far it is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// Then.
    At(Timestamp),
    /// After so long.
    In(Span),
}

impl Until {
    /// The moment, where it is `now`.
    pub(crate) const fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::In(span) => now.plus_seconds(span.seconds.unsigned_abs()),
        }
    }
}

impl FromStr for Until {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let moment = text.parse().map(Self::At);
        moment
            .or_else(|_| text.parse().map(Self::In))
            .map_err(|_| "a time such as 2026-05-01T00:00:00Z or a span such as 30d is wanted".to_owned())
    }
}

/// Reads a date, which is its first moment in UTC, or a time.
///
/// # Errors
/// What would do.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let date = || format!("{text}T00:00:00Z").parse();
    text.parse().or_else(|_| date()).map_err(|_| {
        format!("expected a date such as 2026-04-01 or a time such as 2026-04-01T12:00:00Z, got `{text}`")
    })
}

/// Reads an address to listen on: an IP address or a name that resolves to one, and a port.
///
/// # Errors
/// What is wrong with it, and what would do.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wanted =
        || format!("expected an address and a port such as 127.0.0.1:8080 or localhost:8080, got `{text}`");
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    port.ok_or_else(wanted)?;
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| wanted())?.collect();
    // Where a name has several, most clients try IPv4 at least.
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(wanted)
}

/// A symbol that falls silent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Silence {
    pub(crate) symbol: String,
    pub(crate) after_s: u64,
}

impl FromStr for Silence {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "such as BTCUSDT:60".to_owned();
        let (symbol, after_s) = text.split_once(':').ok_or_else(refused)?;
        let is_symbol = !symbol.is_empty() && symbol.bytes().all(|b| b.is_ascii_alphanumeric());
        let after_s = after_s.parse().ok().filter(|_| is_symbol).ok_or_else(refused)?;
        Ok(Self { symbol: symbol.to_owned(), after_s })
    }
}

/// How fast a market is played.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Speed {
    /// Market seconds per second.
    Times(f64),
    /// As fast as subscribers read.
    Max,
}

impl FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => text
                .parse::<f64>()
                .ok()
                .filter(|times| times.is_finite() && *times > 0.0)
                .map(Self::Times)
                .ok_or_else(|| "a number above 0, or `max`".to_owned()),
        }
    }
}

/// An asset and how much of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Balance {
    pub(crate) asset: String,
    pub(crate) amount: Decimal,
}

impl FromStr for Balance {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "such as USDT=10000".to_owned();
        let (asset, amount) = text.split_once('=').ok_or_else(refused)?;
        let amount = model::number::parse(amount).map_err(|error| error.to_string())?;
        let is_asset = (1..=20).contains(&asset.len())
            && asset.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_asset || amount.is_sign_negative() {
            return Err(refused());
        }
        Ok(Self { asset: asset.to_owned(), amount })
    }
}

/// A key and what signs its requests.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) key: String,
    pub(crate) secret: Secret,
}

/// What signs a key's requests.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The venue knows it as well.
    Shared(String),
    /// Where the public half of it lies.
    Ed25519(PathBuf),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}:…)", self.key)
    }
}

impl FromStr for Credential {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((key, secret)) if !key.is_empty() && !secret.is_empty() => {
                let secret = match secret.strip_prefix("ed25519:") {
                    Some(file) => Secret::Ed25519(file.into()),
                    None => Secret::Shared(secret.to_owned()),
                };
                Ok(Self { key: key.to_owned(), secret })
            }
            _ => Err("such as KEY:SECRET or KEY:ed25519:PUBLIC_PEM_FILE".to_owned()),
        }
    }
}

/// A length of time in whole seconds, written `90d`, `12h`, `30m` or `45s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) seconds: i64,
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "a whole number and a unit: 90d, 12h, 30m or 45s".to_owned();
        let unit = match text.chars().last() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(refused()),
        };
        let count: i64 = text.get(..text.len() - 1).and_then(|n| n.parse().ok()).ok_or_else(refused)?;
        let seconds =
            count.checked_mul(unit).filter(|s| (1..=3_155_760_000).contains(s)).ok_or_else(refused)?;
        Ok(Self { seconds })
    }
}
