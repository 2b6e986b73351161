//! What a venue has to say of a key, and whether it may be stored.

use std::net::IpAddr;
use std::time::Duration;

use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Credential, Restrictions, SecretError, TradeRest};
use model::{Exchange, Warning};

use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::secrets::ApiCredential;

/// How long a request waits for the venue to tell what a key may do.
const VENUE: Duration = Duration::from_secs(8);

impl EngineHandle {
    /// What a key may do, and whether its account may trade.
    pub(super) async fn ask_venue(
        &self,
        exchange: Exchange,
        credential: &ApiCredential,
    ) -> Result<Told, EngineError> {
        let (key, secret) = (credential.api_key.expose(), credential.api_secret.expose());
        let Exchange::Binance = exchange;
        let signing = Credential::new(key, secret).map_err(misspelled)?;
        let rest_url = self.inner.connections.venue().0;
        let asked = self.inner.io.spawn(async move {
            let rest = TradeRest::new(&rest_url, &signing)?;
            let now = rest.server_time().await?;
            let (key, account) = tokio::join!(rest.restrictions(now), rest.account(now));
            let account = account?;
            let (account_trades, uid) = (account.can_trade, account.uid);
            match key {
                Err(error) if is_untold(&rest_url, &error) => {
                    let key = Restrictions { can_trade_spot: account_trades, ..UNTOLD };
                    Ok(Told { key, account_trades, uid, in_full: false })
                }
                key => Ok(Told { key: key?, account_trades, uid, in_full: true }),
            }
        });
        let answer = match tokio::time::timeout(VENUE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err(EngineError::Unavailable("the engine is closing".to_owned())),
            Err(_) => Err(VenueError::Retry { after: None, message: "the deadline passed".to_owned() }),
        };
        answer.map_err(|error| unasked(exchange, &error, &self.inner.egress_addresses))
    }
}

/// What a venue told of a key that works.
pub(super) struct Told {
    pub(super) key: Restrictions,
    account_trades: bool,
    /// What it calls the account.
    pub(super) uid: Option<i64>,
    /// Whether it told what the key may do, as every venue does where there is something to lose.
    in_full: bool,
}

/// A key of which is known only that it reads the account.
const UNTOLD: Restrictions = Restrictions {
    can_read: true,
    can_trade_spot: false,
    can_withdraw: false,
    can_transfer: false,
    is_ip_bound: false,
    trades_until: None,
};

/// Whether the answer means that the venue has no such question. Binance's test network has none, and nothing that
/// could be withdrawn; from the exchange itself it would be a fault, and no key is stored on it.
///
/// Source: the test network's F.A.Q., "Can I use the /sapi endpoints on the Spot Test Network?", read 2026-11-24.
fn is_untold(rest_url: &str, error: &VenueError) -> bool {
    let host = rest_url.split("://").last().unwrap_or_default().split([':', '/']).next().unwrap_or_default();
    let is_the_exchange = host.starts_with("api") && host.ends_with("binance.com");
    matches!(error, VenueError::Rejected { code: 0, message } if message.starts_with("status 404"))
        && !is_the_exchange
}

/// What is wrong with a credential before anybody is asked.
pub(super) fn misspelled(error: SecretError) -> EngineError {
    let param = match error {
        SecretError::Empty | SecretError::Key => "api_key",
        SecretError::Pem => "api_secret",
    };
    EngineError::field(param, error.to_string())
}

/// Why a venue did not tell what a key may do. Its words go to the log alone: they are text from outside.
fn unasked(exchange: Exchange, error: &VenueError, egress: &[IpAddr]) -> EngineError {
    tracing::info!(%exchange, %error, "an exchange key could not be checked");
    match error {
        VenueError::Auth { code, .. } => EngineError::field(
            "api_key",
            format!(
                "{exchange} does not accept this key, or not with this secret (code {code}): check both, and that \
                 the key's list of addresses names {}",
                all_of(egress)
            ),
        ),
        VenueError::Rejected { code, .. } => EngineError::field(
            "api_key",
            format!("{exchange} does not tell what this key may do (code {code}), so it is not stored"),
        ),
        VenueError::Retry { .. } | VenueError::Clock { .. } | VenueError::Unknown { .. } => {
            EngineError::VenueSilent(format!(
                "{exchange} does not answer as it should just now, so the key could not be checked and is not stored: \
             try again"
            ))
        }
    }
}

/// The addresses that orders leave from, in words.
fn all_of(egress: &[IpAddr]) -> String {
    if egress.is_empty() {
        return "this server's addresses".to_owned();
    }
    let all: Vec<String> = egress.iter().map(IpAddr::to_string).collect();
    all.join(" and ")
}

/// Whether a key may be stored, and what its owner should know of it.
pub(super) fn judged(
    exchange: Exchange,
    told: &Told,
    egress: &[IpAddr],
) -> Result<Vec<Warning>, EngineError> {
    let Told { key, account_trades, in_full, .. } = told;
    let refused = |message: &str| Err(EngineError::field("api_key", message));
    if key.can_withdraw || key.can_transfer {
        return refused(
            "this key can take money out of the account: make one without withdrawals and transfers, for reading and \
             spot trading alone",
        );
    }
    if !key.can_read {
        return refused("this key cannot read the account: allow reading at the venue");
    }
    if *in_full && !key.can_trade_spot {
        return refused("this key cannot trade: allow spot trading at the venue");
    }
    if !*account_trades {
        return refused("the account behind this key may not trade: ask the venue why");
    }
    let mut warnings = Vec::new();
    let mut warn =
        |message| warnings.push(Warning { param: "api_key".to_owned(), code: "key_permissions", message });
    if !*in_full {
        warn(format!("{exchange}'s test network does not tell what a key may do: it was only seen to work"));
    } else if !key.is_ip_bound {
        warn(format!(
            "the key works from any address, so whoever gets hold of it can trade with it: bind it to {} at \
             {exchange}",
            all_of(egress)
        ));
    }
    if let Some(until) = key.trades_until {
        warn(format!("the key can trade until {until} only: renew it at {exchange} before"));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    const GOOD: Restrictions = Restrictions {
        can_read: true,
        can_trade_spot: true,
        can_withdraw: false,
        can_transfer: false,
        is_ip_bound: true,
        trades_until: None,
    };

    fn judge(key: Restrictions, account_trades: bool) -> Result<Vec<String>, String> {
        let told = Told { key, account_trades, uid: None, in_full: true };
        let judged = judged(Exchange::Binance, &told, &["203.0.113.10".parse().unwrap()]);
        let warnings = judged.map_err(|error| error.to_string())?;
        Ok(warnings.into_iter().map(|warning| warning.message).collect())
    }

    #[test]
    fn a_key_that_may_do_too_much_or_too_little_is_refused_with_the_remedy() {
        assert_eq!(judge(GOOD, true), Ok(vec![]));
        for (key, account_trades, told) in [
            (Restrictions { can_withdraw: true, ..GOOD }, true, "without withdrawals"),
            (Restrictions { can_transfer: true, ..GOOD }, true, "without withdrawals and transfers"),
            (Restrictions { can_read: false, ..GOOD }, true, "allow reading"),
            (Restrictions { can_trade_spot: false, ..GOOD }, true, "allow spot trading"),
            (GOOD, false, "may not trade"),
        ] {
            let error = judge(key, account_trades).unwrap_err();
            assert!(error.starts_with("api_key: ") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_key_that_works_from_anywhere_or_ends_is_stored_with_a_warning() {
        let warnings = judge(Restrictions { is_ip_bound: false, ..GOOD }, true).unwrap();
        assert!(
            matches!(&warnings[..], [one] if one.contains("bind it to 203.0.113.10 at binance")),
            "{warnings:?}"
        );
        let until = Some(Timestamp::from_millis(1_800_000_000_000));
        assert_eq!(judge(Restrictions { trades_until: until, ..GOOD }, true).unwrap().len(), 1);
    }

    #[test]
    fn only_a_test_network_may_leave_untold_what_a_key_may_do() {
        let refused = |code, message: &str| VenueError::Rejected { code, message: message.to_owned() };
        for (url, error, expected) in [
            ("https://testnet.binance.vision", refused(0, "status 404"), true),
            ("http://127.0.0.1:9000", refused(0, "status 404: Not Found"), true),
            ("https://api.binance.com", refused(0, "status 404"), false),
            ("https://api1.binance.com:443/", refused(0, "status 404"), false),
            ("https://testnet.binance.vision", refused(-1100, "status 404"), false),
            ("https://testnet.binance.vision", refused(0, "status 400"), false),
            (
                "https://testnet.binance.vision",
                VenueError::Retry { after: None, message: "status 404".to_owned() },
                false,
            ),
        ] {
            assert_eq!(is_untold(url, &error), expected, "{url} {error}");
        }
    }
}
