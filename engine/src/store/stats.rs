//! A bot's statistics as they are stored: what was added up so far, and the closed trades that came after.

use model::{BotId, TradeId};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading, writing};
use crate::stats::{BotStats, ClosedTrade};

/// Whose statistics, of paper money or not, and in which quote coin: what a bot made before it was turned to another is
/// not mixed with what it makes since.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct StatsKey {
    pub(crate) bot_id: BotId,
    pub(crate) dry_run: bool,
    pub(crate) quote: String,
}

/// Statistics and how far they go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KnownStats {
    pub(crate) stats: BotStats,
    /// The last trade in them.
    pub(crate) last: Option<TradeId>,
    /// How many trades are in what is stored of them.
    stored: u64,
    /// How often a closed trade had been booked again before they were added up.
    rebookings: i64,
}

/// What happens to a bot's sums when a closed trade of its is booked again.
pub(super) const FORGET_SUMS: [&str; 2] =
    ["DELETE FROM bot_stats WHERE bot_id = $1", "UPDATE bots SET rebookings = rebookings + 1 WHERE id = $1"];

/// So many trades are not read again by a server that starts anew.
const WORTH_STORING: u64 = 100;

impl Store {
    /// What was added up so far.
    pub(super) async fn stored_stats(&self, key: &StatsKey) -> Result<KnownStats, StoreError> {
        let sql =
            "SELECT bots.rebookings, sums.last_trade_id, sums.figures FROM bots LEFT JOIN bot_stats AS sums
                ON sums.bot_id = bots.id AND sums.dry_run = $2 AND sums.quote = $3
            WHERE bots.id = $1";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(key.bot_id.to_string()).bind(key.dry_run).bind(&key.quote);
            let Some(row) = query.fetch_optional(pool).await? else { return Ok(KnownStats::default()) };
            let rebookings = row.try_get("rebookings")?;
            let Some(figures) = row.try_get::<Option<&str>, _>("figures")? else {
                return Ok(KnownStats { rebookings, ..KnownStats::default() });
            };
            let corrupt = |_| StoreError::Corrupt { column: "figures", value: figures.chars().take(60).collect() };
            let stats: BotStats = serde_json::from_str(figures).map_err(corrupt)?;
            let last = Some(parsed("last_trade_id", row.try_get("last_trade_id")?)?);
            Ok(KnownStats { stored: stats.trades, last, stats, rebookings })
        })
    }

    /// Keeps what was added up, unless a trade in it was booked again meanwhile.
    async fn keep_stats(&self, key: &StatsKey, last: TradeId, now: &KnownStats) -> Result<(), StoreError> {
        let sql = "INSERT INTO bot_stats (bot_id, dry_run, quote, last_trade_id, figures)
            SELECT id, $2, $3, $4, $5 FROM bots WHERE id = $1 AND rebookings = $6
            ON CONFLICT (bot_id, dry_run, quote) DO UPDATE
                SET last_trade_id = excluded.last_trade_id, figures = excluded.figures
                WHERE excluded.last_trade_id > bot_stats.last_trade_id";
        let figures = serde_json::to_string(&now.stats).unwrap_or_default();
        writing!(self, transaction => {
            let insert = sqlx::query(sql)
                .bind(key.bot_id.to_string())
                .bind(key.dry_run)
                .bind(&key.quote)
                .bind(last.to_string())
                .bind(figures)
                .bind(now.rebookings);
            insert.execute(&mut *transaction).await?;
        });
        Ok(())
    }

    /// Adds trades that closed later to what is known. It is stored again once that saves the next one much reading.
    pub(super) async fn summed_up(
        &self,
        key: &StatsKey,
        mut now: KnownStats,
        later: &[ClosedTrade],
    ) -> Result<KnownStats, StoreError> {
        for trade in later {
            now.stats.add(trade);
            now.last = Some(trade.id);
        }
        if let Some(last) = now.last.filter(|_| now.stats.trades >= now.stored + WORTH_STORING) {
            self.keep_stats(key, last, &now).await?;
            now.stored = now.stats.trades;
        }
        Ok(now)
    }
}

/// A bot's trades that closed after this one, in order, as this connection sees them: it has one open at a time, so they
/// close as they opened.
macro_rules! closed_after {
    ($connection:ident, $key:expr, $after:expr) => {{
        let sql = "SELECT id, opened_at, closed_at, profit, profit_pct, fees FROM trades
            WHERE bot_id = $1 AND id > $2 AND status = 'closed' AND dry_run = $3 AND pair LIKE $4 ORDER BY id";
        let query = sqlx::query(sql)
            .bind($key.bot_id.to_string())
            .bind($after.map_or_else(String::new, |id: model::TradeId| id.to_string()))
            .bind($key.dry_run)
            .bind(format!("%/{}", $key.quote));
        let mut trades = Vec::new();
        for row in query.fetch_all(&mut *$connection).await? {
            let closed_at: Option<i64> = row.try_get("closed_at")?;
            let profit: Option<&str> = row.try_get("profit")?;
            let profit_pct: Option<&str> = row.try_get("profit_pct")?;
            let opened_at = row.try_get("opened_at")?;
            trades.push($crate::stats::ClosedTrade {
                id: parsed("id", row.try_get("id")?)?,
                opened_at: model::Timestamp::from_nanos(opened_at),
                closed_at: model::Timestamp::from_nanos(closed_at.unwrap_or(opened_at)),
                profit: profit.map_or(Ok(model::Quote::ZERO), |text| parsed("profit", text))?,
                profit_pct: profit_pct.map_or(Ok(model::Pct::ZERO), |text| parsed("profit_pct", text))?,
                fees: parsed("fees", row.try_get("fees")?)?,
            });
        }
        trades
    }};
}
pub(super) use closed_after;

#[cfg(test)]
mod tests {
    use model::{AccountId, Timestamp};
    use strategies::BotDefinition;

    use super::super::exchanges::tests::stores;
    use super::*;
    use crate::change::{Change, NewBot};

    /// A store with a bot that closed so many trades, each making one.
    async fn store(trades: u64) -> (Store, StatsKey, tempfile::TempDir) {
        let (store, folder) = stores().await.swap_remove(0);
        let key = fill(&store, trades).await;
        (store, key, folder)
    }

    async fn fill(store: &Store, trades: u64) -> StatsKey {
        let account = store.create_account("one", Timestamp::MIN).await.unwrap().id;
        let body = r#"{"name":"b","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":3,"stop_loss":-4,"dry_run":true}"#;
        let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let id = BotId::from_u128(1);
        let new = NewBot {
            id,
            account_id: account,
            definition,
            capital: model::Quote::ZERO,
            created_at: Timestamp::MIN,
        };
        store.commit([Change { created: Some(Box::new(new)), ..Change::default() }]).await.unwrap();
        close(store, account, id, 0, trades).await;
        StatsKey { bot_id: id, dry_run: true, quote: "USDT".to_owned() }
    }

    /// Trades that closed, an hour after each other, beside some in another quote coin and of real money.
    async fn close(store: &Store, account: AccountId, bot: BotId, from: u64, count: u64) {
        let written: Result<(), StoreError> = async {
            writing!(store, transaction => {
            for number in from..from + count {
                for (pair, dry_run, step) in
                    [("BTC/USDT", true, 0_u128), ("BTC/USDC", true, 1), ("BTC/USDT", false, 2)]
                {
                    if step > 0 && number % 1_000 != 0 {
                        continue;
                    }
                    let at = i64::try_from(number).unwrap() * 3_600_000_000_000;
                    sqlx::query(
                        "INSERT INTO trades (id, account_id, bot_id, exchange, pair, status, dry_run, opened_at, closed_at,
                             entry_price, amount, stake, fees, profit, profit_pct)
                         VALUES ($1, $2, $3, 'binance', $4, 'closed', $5, $6, $7, '1', '1', '50', '0.1', '1', '2')",
                    )
                    .bind(TradeId::from_u128(u128::from(number) * 3 + step + 1).to_string())
                    .bind(account.to_string())
                    .bind(bot.to_string())
                    .bind(pair)
                    .bind(dry_run)
                    .bind(at)
                    .bind(at + 60_000_000_000)
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                }
            }
            });
            Ok(())
        }
        .await;
        written.unwrap();
    }

    async fn now(store: &Store, key: &StatsKey, known: Option<KnownStats>) -> KnownStats {
        let account = store.accounts_with_bots().await.unwrap()[0];
        store.standing(account, key, known).await.unwrap().1
    }

    #[tokio::test]
    async fn a_bot_with_many_trades_is_summed_up_once() {
        let (store, key, _folder) = store(3_000).await;
        let first = now(&store, &key, None).await;
        assert_eq!((first.stats.trades, first.stats.profit.to_string()), (3_000, "3000".to_owned()));
        let account = store.accounts_with_bots().await.unwrap()[0];
        close(&store, account, key.bot_id, 3_000, 5).await;
        // A server that starts anew reads five, as one that remembers does.
        let anew = now(&store, &key, None).await;
        let went_on = now(&store, &key, Some(first.clone())).await;
        assert_eq!((anew.stats.trades, anew.stored), (3_005, 3_000));
        assert_eq!(anew, went_on);
        let real = StatsKey { dry_run: false, ..key };
        assert_eq!(now(&store, &real, None).await.stats.trades, 4, "other money is not mixed in");
    }

    #[tokio::test]
    async fn sums_from_before_a_trade_was_booked_again_are_not_kept() {
        for (store, _folder) in stores().await {
            let key = fill(&store, 150).await;
            let before = store.stored_stats(&key).await.unwrap();
            // As the ledger does with such a booking.
            for sql in FORGET_SUMS {
                store.run(sql.replace("$1", &format!("'{}'", key.bot_id))).await;
            }
            let late = now(&store, &key, Some(before)).await;
            assert_eq!((late.stats.trades, store.stored_stats(&key).await.unwrap().last), (150, None));
            let anew = now(&store, &key, None).await;
            assert_eq!((anew.stored, anew.rebookings), (150, 1));
            assert_eq!(store.stored_stats(&key).await.unwrap(), anew);
        }
    }
}
