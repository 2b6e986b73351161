//! Trades as CSV (RFC 4180): a header, CRLF, exact decimals, and no cell that a spreadsheet would take for a formula.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use engine::{EngineHandle, FairPermit, FairSemaphore, TradeFilter};
use futures_util::stream;
use model::{AccountId, ExitReason, Side, Trade, TradeId, TradeStatus};

use crate::ApiError;

/// Rows that are read at once.
const AT_ONCE: u32 = 200;

/// How many exports of one account run at once, and how many of all.
const PER_ACCOUNT: usize = 2;
const IN_ALL: usize = 64;

/// How long the next export waits for one of them to end.
const WAIT: Duration = Duration::from_secs(5);

/// After how many seconds one that waited in vain may be asked for again.
const RETRY_AFTER_S: u64 = 5;

/// The exports that run. Each ends with its answer, which is cut off where it is not read.
#[derive(Clone, Debug)]
pub(crate) struct Exports(FairSemaphore<AccountId>);

impl Default for Exports {
    fn default() -> Self {
        Self(FairSemaphore::new(IN_ALL, PER_ACCOUNT))
    }
}

impl Exports {
    /// Waits for an account's turn.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`] where the account's own exports take too long, and [`ApiError::Unavailable`] where
    /// those of others do.
    async fn begin(&self, account: AccountId) -> Result<FairPermit<AccountId>, ApiError> {
        match tokio::time::timeout(WAIT, self.0.acquire(account)).await {
            Ok(permit) => Ok(permit),
            Err(_) if self.0.is_used_up(account) => {
                Err(ApiError::RateLimited { of: "exports at once", retry_after_s: RETRY_AFTER_S })
            }
            Err(_) => Err(ApiError::Unavailable),
        }
    }
}

/// The columns, named as in JSON. A trade's orders have no place in a row.
const HEADER: &str = "id,bot_id,exchange,pair,side,status,dry_run,opened_at,closed_at,entry_price,exit_price,amount,\
                      stake,fees,profit,profit_pct,profit_usd,usd_rate,exit_reason,stop_price,take_profit_price\r\n";

/// Where the reading stands.
struct Reading {
    engine: web::Data<EngineHandle>,
    account: AccountId,
    filter: TradeFilter,
    after: Option<TradeId>,
    /// How many rows may still come.
    left: u64,
    _export: FairPermit<AccountId>,
}

/// An account's trades, newest first, as they are read: at most `most`, or all. A page is read when the client has taken
/// the one before, and nothing of the store is held between them.
///
/// # Errors
/// As [`Exports::begin`].
pub(super) async fn trades(
    exports: &Exports,
    engine: web::Data<EngineHandle>,
    account: AccountId,
    filter: TradeFilter,
    after: Option<TradeId>,
    most: Option<u32>,
) -> Result<HttpResponse, ApiError> {
    let export = exports.begin(account).await?;
    let left = most.map_or(u64::MAX, u64::from);
    let reading = Some(Reading { engine, account, filter, after, left, _export: export });
    let header = stream::once(async { Ok::<_, ApiError>(Bytes::from_static(HEADER.as_bytes())) });
    let rows = stream::unfold(reading, |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok((rows, has_more)) => Some((Ok(rows), has_more.then_some(reading))),
            // What was sent so far is cut off, so that nobody takes it for all there is.
            Err(error) => Some((Err(error), None)),
        }
    });
    let answer = HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"trades.csv\""))
        .streaming(futures_util::StreamExt::chain(header, rows));
    Ok(answer)
}

impl Reading {
    /// The next rows, and whether more follow.
    async fn next(&mut self) -> Result<(Bytes, bool), ApiError> {
        let limit = u32::try_from(self.left.min(u64::from(AT_ONCE))).unwrap_or(AT_ONCE);
        let asked = self.engine.trade_rows(self.account, self.filter.clone(), limit, self.after);
        let page = asked.await?;
        self.left -= page.rows.len() as u64;
        self.after = page.rows.last().map(|trade| trade.id);
        let rows: String = page.rows.iter().map(row).collect();
        Ok((Bytes::from(rows), page.has_more && self.left > 0))
    }
}

fn row(trade: &Trade) -> String {
    let side = match trade.side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    };
    let status = match trade.status {
        TradeStatus::Open => "open",
        TradeStatus::Closed => "closed",
    };
    let cells = [
        text(&trade.id.to_string()),
        text(&trade.bot_id.to_string()),
        text(trade.exchange.as_str()),
        text(&trade.pair.to_string()),
        side.to_owned(),
        status.to_owned(),
        trade.dry_run.to_string(),
        trade.opened_at.to_string(),
        maybe(trade.closed_at),
        trade.entry_price.to_string(),
        maybe(trade.exit_price),
        trade.amount.to_string(),
        trade.stake.to_string(),
        trade.fees.to_string(),
        maybe(trade.profit),
        maybe(trade.profit_pct),
        maybe(trade.profit_usd),
        maybe(trade.usd_rate),
        maybe(trade.exit_reason.map(ExitReason::as_str)),
        maybe(trade.stop_price),
        maybe(trade.take_profit_price),
    ];
    cells.join(",") + "\r\n"
}

/// What is not known is an empty cell.
fn maybe(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A cell of text: one that a spreadsheet would take for a formula is told to be text, and one with a separator is quoted.
fn text(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if is_formula { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) };
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_to_any_spreadsheet() {
        for (given, shown) in [
            ("BTC/USDT", "BTC/USDT"),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("a\r\nb", "\"a\r\nb\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
        ] {
            assert_eq!(text(given), shown);
        }
    }
}
