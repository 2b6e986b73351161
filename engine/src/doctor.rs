//! What an operator asks before a server starts, or when one does not do what it should: whether the database, the master
//! key, the clock and the venue are as the server needs them.

use std::time::{Duration, Instant};

use connectors::binance::rest::Rest;
use connectors::binance::stream::{MarketStream, StreamConfig, StreamEvent};
use model::Timestamp;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock;
use crate::master_key::{check_master_key, master_key_name};
use crate::secrets::MasterKeyError;
use crate::start::EngineConfig;
use crate::store::{Store, shown_database_url};

/// How long a venue may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How far the clock may be from the venue's: it refuses requests that are stamped a second ahead of its own.
const CLOCK_OFF: Duration = Duration::from_secs(1);

/// What was found of one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// Whether it is as it should be.
    pub is_ok: bool,
    /// What was found, and what to do about it if that is wrong.
    pub message: String,
}

impl Finding {
    /// What is as it should be.
    pub fn good(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, is_ok: true, message: message.into() }
    }

    /// What is not.
    pub fn bad(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, is_ok: false, message: message.into() }
    }
}

/// Looks at everything that a server with this configuration needs from outside. It changes nothing.
pub async fn examine(config: &EngineConfig) -> Vec<Finding> {
    let mut findings = database(config).await;
    findings.extend(venue(config).await);
    findings
}

async fn database(config: &EngineConfig) -> Vec<Finding> {
    const CHECK: &str = "database";
    let (url, shown) = (&config.database_url, shown_database_url(&config.database_url));
    if let Some(file) = Store::file(url).filter(|file| !file.exists()) {
        let file = std::path::absolute(&file).unwrap_or(file);
        let message = format!(
            "there is no {}: `botprimex serve` makes it at its first start; else set DATABASE_URL or --database-url",
            file.display()
        );
        return vec![Finding::bad(CHECK, message)];
    }
    let store = match Store::open_existing(url).await {
        Ok(store) => store,
        Err(error) => return vec![Finding::bad(CHECK, format!("{shown} cannot be used: {error}"))],
    };
    let mut findings = vec![match store.overview().await {
        Ok(overview) => {
            let bots: i64 = overview.bots.values().sum();
            let running = overview.bots.get("running").copied().unwrap_or_default();
            let waiting = overview.undelivered;
            Finding::good(
                CHECK,
                format!("{shown}: {bots} bots, {running} running; {waiting} webhook events to deliver"),
            )
        }
        Err(error) => Finding::bad(CHECK, format!("{shown} cannot be read: {error}")),
    }];
    findings.push(master_key(config, &store).await);
    store.close().await;
    findings
}

async fn master_key(config: &EngineConfig, store: &Store) -> Finding {
    const CHECK: &str = "master key";
    let name = master_key_name(&config.database_url, config.master_key.is_some());
    match check_master_key(store, &config.database_url, config.master_key.clone()).await {
        Ok((version, secrets)) if secrets.unreadable == 0 => {
            let opened = secrets.exchanges + secrets.webhooks;
            Finding::good(
                CHECK,
                format!("{name}, version {version}: opens all {opened} stored secrets; back it up"),
            )
        }
        Ok((version, secrets)) => Finding::bad(
            CHECK,
            format!("{name}, version {version}: {} stored secrets do not open", secrets.unreadable),
        ),
        Err(crate::StartError::MasterKey(MasterKeyError::NoneYet)) => {
            Finding::good(CHECK, format!("none yet: the first start makes or takes {name}"))
        }
        Err(error) => Finding::bad(CHECK, format!("{name}: {error}")),
    }
}

async fn venue(config: &EngineConfig) -> Vec<Finding> {
    let (rest, stream, socket) =
        tokio::join!(rest(&config.rest_url), stream(&config.stream_url), socket(&config.ws_api_url));
    rest.into_iter().chain([stream, socket]).collect()
}

/// The venue's REST interface, and how far the clock is from its.
async fn rest(url: &str) -> Vec<Finding> {
    const CHECK: &str = "binance rest";
    let rest = match Rest::new(url) {
        Ok(rest) => rest,
        Err(error) => return vec![Finding::bad(CHECK, format!("{url}: {error}"))],
    };
    // The first one also looks the name up and opens the connection.
    let first = timeout(ANSWER, rest.server_time()).await;
    let (began, asked_at) = (Instant::now(), clock::now());
    let told = if matches!(first, Ok(Ok(_))) { timeout(ANSWER, rest.server_time()).await } else { first };
    match told {
        Ok(Ok(venue)) => {
            let took = began.elapsed();
            vec![
                Finding::good(CHECK, format!("{url} answers after {} ms", took.as_millis())),
                clock(venue, asked_at, took),
            ]
        }
        Ok(Err(error)) => vec![Finding::bad(CHECK, format!("{url}: {error}")), unknown_clock()],
        Err(_) => vec![
            Finding::bad(CHECK, format!("{url} does not answer within {} s", ANSWER.as_secs())),
            unknown_clock(),
        ],
    }
}

fn unknown_clock() -> Finding {
    Finding::bad("clock", "the venue does not tell its time, so this machine's cannot be compared")
}

/// How far the clock is from the venue's, which told its time somewhere between being asked and having answered.
fn clock(venue: Timestamp, asked_at: Timestamp, took: Duration) -> Finding {
    let half = i64::try_from(took.as_nanos() / 2).unwrap_or(i64::MAX);
    let behind_ns = venue.since(asked_at).saturating_sub(half);
    let off = Duration::from_nanos(behind_ns.unsigned_abs());
    if off <= CLOCK_OFF {
        return Finding::good("clock", format!("{} ms from the venue's", off.as_millis()));
    }
    let way = if behind_ns > 0 { "behind" } else { "ahead of" };
    Finding::bad("clock", format!("{} ms {way} the venue's: set it, with NTP", off.as_millis()))
}

async fn stream(url: &str) -> Finding {
    const CHECK: &str = "binance stream";
    let (mut stream, mut events) = (MarketStream::new(StreamConfig::new(url)), Vec::new());
    let began = Instant::now();
    if timeout(ANSWER, stream.next_batch(&mut events)).await.is_err() {
        return Finding::bad(CHECK, format!("{url} does not answer within {} s", ANSWER.as_secs()));
    }
    let reason = events.into_iter().find_map(|event| match event {
        StreamEvent::Disconnected { reason, .. } => Some(reason),
        _ => None,
    });
    match reason {
        None => Finding::good(CHECK, format!("{url} is up after {} ms", began.elapsed().as_millis())),
        Some(reason) => Finding::bad(CHECK, format!("{url}: {reason}")),
    }
}

/// The socket that orders go through: nobody logs on here, so only that its host takes connections is known.
async fn socket(url: &str) -> Finding {
    const CHECK: &str = "binance orders";
    let Some(address) = address(url) else {
        return Finding::bad(CHECK, format!("{url} is no address such as wss://HOST/ws-api/v3"));
    };
    let began = Instant::now();
    match timeout(ANSWER, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => {
            Finding::good(CHECK, format!("{url} takes connections after {} ms", began.elapsed().as_millis()))
        }
        Ok(Err(error)) => Finding::bad(CHECK, format!("{url}: {error}")),
        Err(_) => Finding::bad(CHECK, format!("{url} does not answer within {} s", ANSWER.as_secs())),
    }
}

/// The host and port of a socket's URL.
fn address(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "wss" => "443",
        "ws" => "80",
        _ => return None,
    };
    let host = rest.split(['/', '?']).next().filter(|host| !host.is_empty())?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { host.to_owned() } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sockets_host_and_port_are_read_from_its_url() {
        for (url, expected) in [
            ("wss://ws-api.binance.com:443/ws-api/v3", Some("ws-api.binance.com:443")),
            ("wss://ws-api.example/ws-api/v3", Some("ws-api.example:443")),
            ("ws://127.0.0.1:8081/ws-api/v3", Some("127.0.0.1:8081")),
            ("https://a", None),
            ("nonsense", None),
            ("wss:///x", None),
        ] {
            assert_eq!(address(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_clock_may_be_a_second_off_the_time_that_the_answer_took_allowed_for() {
        let asked = Timestamp::from_millis(1_000_000);
        let off = |ms: i64, took_ms: u64| {
            clock(Timestamp::from_millis(1_000_000 + ms), asked, Duration::from_millis(took_ms))
        };
        assert!(off(0, 0).is_ok && off(1_000, 0).is_ok && off(-1_000, 0).is_ok);
        assert!(off(1_100, 300).is_ok, "it was told in the middle of 300 ms");
        let behind = off(3_000, 0);
        assert!(!behind.is_ok && behind.message.contains("3000 ms behind"), "{behind:?}");
        assert!(off(-3_000, 0).message.contains("3000 ms ahead of"));
    }
}
