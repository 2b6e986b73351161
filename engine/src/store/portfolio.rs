//! What an account holds: its bots, their open trades, what the closed ones made, and what it was worth.

use std::collections::HashMap;

use model::{AccountId, BotId, Exchange, Pair, Qty, Quote, Rate, Side, Timestamp};
use rust_decimal::Decimal;
use sqlx::Row as _;
use strategies::live::Execution;

use super::ladders::Ladder;
use super::realized::{Key, Sum};
use super::{Store, StoreError, parsed, snapshot, worded, writing};
use crate::view::taken_out;

/// An open trade, as far as its account's portfolio goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OpenTrade {
    pub(crate) bot_id: BotId,
    pub(crate) exchange: Exchange,
    pub(crate) pair: Pair,
    pub(crate) dry_run: bool,
    /// What it holds: what was sold of it already is off it, and what its owner took out.
    pub(crate) amount: Qty,
    /// What it spent; what it got back already is off it, and what its owner took out at its cost.
    pub(crate) stake: Quote,
    /// The rate that selling it costs; `None` where that is the configured one.
    pub(crate) fee: Option<Rate>,
    /// What its bot's whole ladder needs, fees included, in quote.
    pub(crate) ladder: Quote,
}

impl OpenTrade {
    /// Takes off what its owner took out and what was sold of it.
    fn settle(&mut self, fills: &[(Side, Execution)]) {
        let of =
            |wanted| fills.iter().filter(move |(side, _)| *side == wanted).map(|(_, execution)| execution);
        let received: Decimal = of(Side::Buy).map(|execution| execution.received(&self.pair)).sum();
        let received = Qty::new(received).unwrap_or_default();
        self.stake = self.stake - taken_out(self.amount, received, self.stake);
        of(Side::Sell).for_each(|execution| self.sell(execution));
    }

    /// Takes off what was sold of it.
    fn sell(&mut self, execution: &Execution) {
        let left = self.amount.decimal() - execution.gone(&self.pair);
        self.amount = Qty::new(left).unwrap_or_default();
        let spent = self.stake.decimal() - execution.proceeds(&self.pair);
        self.stake = Quote::new(spent).unwrap_or(self.stake);
    }
}

/// What an account holds at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Holdings {
    /// What the ladders of bots that were not deleted spend.
    pub(crate) ladders: Vec<(Key, Ladder)>,
    /// Their open trades.
    pub(crate) open: Vec<OpenTrade>,
    /// What all closed trades made, those of deleted bots included.
    pub(crate) realized: Vec<(Key, Sum)>,
}

/// The three questions, asked as of one moment so that no trade is counted as open and closed.
macro_rules! holdings {
    ($connection:ident, $account:ident) => {{
        let account = $account.to_string();
        let mut holdings = Holdings::default();
        let ladders = sqlx::query(
            "SELECT exchange, dry_run, quote, bots, capital FROM ladders WHERE account_id = $1 AND (bots > 0 OR capital <> '0')
             ORDER BY exchange, dry_run, quote",
        );
        for row in ladders.bind(&account).fetch_all(&mut *$connection).await? {
            let exchange: Exchange = worded("exchange", row.try_get("exchange")?)?;
            let key = ($account, exchange, row.try_get("dry_run")?, row.try_get("quote")?);
            let capital = parsed("capital", row.try_get("capital")?)?;
            holdings.ladders.push((key, Ladder { bots: row.try_get("bots")?, capital }));
        }
        let open = sqlx::query(
            "SELECT trades.id, trades.bot_id, trades.exchange, trades.pair, trades.dry_run, trades.amount, trades.stake,
                 trades.fee_rates, bots.capital
             FROM trades JOIN bots ON bots.id = trades.bot_id
             WHERE trades.account_id = $1 AND trades.status = 'open' AND bots.deleted_at IS NULL",
        );
        let mut places: HashMap<String, usize> = HashMap::new();
        for row in open.bind(&account).fetch_all(&mut *$connection).await? {
            let (dry_run, ladder): (bool, Option<&str>) = (row.try_get("dry_run")?, row.try_get("capital")?);
            if !dry_run {
                places.insert(row.try_get("id")?, holdings.open.len());
            }
            holdings.open.push(OpenTrade {
                bot_id: parsed("bot_id", row.try_get("bot_id")?)?,
                exchange: worded("exchange", row.try_get("exchange")?)?,
                pair: parsed("pair", row.try_get("pair")?)?,
                dry_run,
                amount: parsed("amount", row.try_get("amount")?)?,
                stake: parsed("stake", row.try_get("stake")?)?,
                fee: super::trades::fee_rates(row.try_get("fee_rates")?)?.and_then(|rates| rates.taker_rate()),
                ladder: parsed("capital", ladder.unwrap_or("0"))?,
            });
        }
        // On paper what is sold is sold whole.
        if !places.is_empty() {
            let filled = sqlx::query(
                "SELECT trades.id, orders.side, fills.at, fills.price, fills.qty, fills.fee, fills.fee_asset, fills.fee_price
                 FROM trades JOIN orders ON orders.trade_id = trades.id JOIN fills ON fills.order_id = orders.id
                 WHERE trades.account_id = $1 AND trades.status = 'open' AND NOT trades.dry_run",
            );
            let mut fills: HashMap<usize, Vec<(Side, Execution)>> = HashMap::new();
            for row in filled.bind(&account).fetch_all(&mut *$connection).await? {
                let Some(place) = places.get(row.try_get::<&str, _>("id")?).copied() else { continue };
                let (fee_asset, fee_price): (&str, Option<&str>) =
                    (row.try_get("fee_asset")?, row.try_get("fee_price")?);
                let execution = Execution {
                    trade_id: 0,
                    at: Timestamp::from_nanos(row.try_get("at")?),
                    price: parsed("price", row.try_get("price")?)?,
                    qty: parsed("qty", row.try_get("qty")?)?,
                    fee: parsed("fee", row.try_get("fee")?)?,
                    fee_asset: fee_asset.into(),
                    fee_price: fee_price.map(|price| parsed("fee_price", price)).transpose()?,
                };
                fills.entry(place).or_default().push((worded("side", row.try_get("side")?)?, execution));
            }
            for (place, fills) in fills {
                if let Some(trade) = holdings.open.get_mut(place) {
                    trade.settle(&fills);
                }
            }
        }
        let realized = sqlx::query(
            "SELECT exchange, dry_run, quote, trades, profit, fees, profit_usd, unvalued FROM realized WHERE account_id = $1
             ORDER BY exchange, dry_run, quote",
        );
        for row in realized.bind(&account).fetch_all(&mut *$connection).await? {
            let exchange: Exchange = worded("exchange", row.try_get("exchange")?)?;
            let key = ($account, exchange, row.try_get("dry_run")?, row.try_get("quote")?);
            holdings.realized.push((key, super::realized::stored_sum!(row)));
        }
        holdings
    }};
}

impl Store {
    /// What an account holds at one moment.
    pub(crate) async fn holdings(&self, account: AccountId) -> Result<Holdings, StoreError> {
        Ok(snapshot!(self, connection => holdings!(connection, account)))
    }

    /// Accounts that have bots.
    pub(crate) async fn accounts_with_bots(&self) -> Result<Vec<AccountId>, StoreError> {
        let sql = "SELECT id FROM accounts WHERE EXISTS
                (SELECT 1 FROM bots WHERE bots.account_id = accounts.id AND bots.deleted_at IS NULL)
            ORDER BY id";
        super::reading!(self, pool => {
            let rows = sqlx::query(sql).fetch_all(pool).await?;
            rows.into_iter().map(|row| parsed("id", row.try_get("id")?)).collect()
        })
    }

    /// Keeps points of an account's worth, `(step in seconds, beginning of the step, figures)`; a later point of the
    /// same step takes the place of the one before. Of these accounts drops those that are `old`: of a step, from
    /// before a time.
    pub(crate) async fn keep_points(
        &self,
        points: &[(AccountId, i64, Timestamp, String)],
        old: &[(i64, Timestamp)],
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO equity_history (account_id, step_s, at, figures) VALUES ($1, $2, $3, $4)
            ON CONFLICT (account_id, step_s, at) DO UPDATE SET figures = excluded.figures";
        let drop = "DELETE FROM equity_history WHERE account_id = $1 AND step_s = $2 AND at < $3";
        writing!(self, transaction => {
            for (account, step, at, figures) in points {
                let insert = sqlx::query(sql).bind(account.to_string()).bind(*step).bind(at.nanos()).bind(figures);
                insert.execute(&mut *transaction).await?;
                for (_, before) in old.iter().filter(|(of, _)| of == step) {
                    let delete = sqlx::query(drop).bind(account.to_string()).bind(*step).bind(before.nanos());
                    delete.execute(&mut *transaction).await?;
                }
            }
        });
        Ok(())
    }

    /// An account's points of this step, oldest first, at most so many.
    pub(crate) async fn points(
        &self,
        account: AccountId,
        step_s: i64,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Timestamp, String)>, StoreError> {
        let sql = "SELECT at, figures FROM equity_history
            WHERE account_id = $1 AND step_s = $2 AND at >= $3 AND at < $4 ORDER BY at LIMIT $5";
        super::reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(step_s)
                .bind(from.nanos())
                .bind(to.nanos())
                .bind(i64::from(limit));
            let rows = query.fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| Ok((Timestamp::from_nanos(row.try_get("at")?), row.try_get("figures")?)))
                .collect()
        })
    }
}
