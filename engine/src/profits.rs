//! What closed trades made, by day, week or month, by bot or by pair.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::{AccountId, BotId, Pair, Quote, Timestamp};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::ClosedTrade;

/// What closed trades are added up by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfitsBy {
    /// The day on which they were closed.
    #[default]
    Day,
    /// The week, from Monday on.
    Week,
    /// The month.
    Month,
    /// Whose they are.
    Bot,
    /// What they traded.
    Pair,
}

impl ProfitsBy {
    /// Every way there is, with its name on the wire.
    pub const ALL: [(&'static str, Self); 5] = [
        ("day", Self::Day),
        ("week", Self::Week),
        ("month", Self::Month),
        ("bot", Self::Bot),
        ("pair", Self::Pair),
    ];
}

/// Which closed trades of an account; what is `None` does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProfitFilter {
    /// Closed at this time or later.
    pub from: Option<Timestamp>,
    /// Closed before this time.
    pub to: Option<Timestamp>,
    /// Of this bot.
    pub bot_id: Option<BotId>,
    /// Of this pair.
    pub pair: Option<Pair>,
    /// On paper, or not.
    pub dry_run: Option<bool>,
}

/// What the closed trades of one group made, on paper or for real, in one currency.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ProfitRow)]
pub struct Profits {
    /// The first day of the period; absent where they are added up by bot or pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = Date)]
    pub period: Option<String>,
    /// Whose they are; absent where they are not added up by bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bot_id: Option<BotId>,
    /// What they traded; absent where they are not added up by pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pair: Option<Pair>,
    /// On paper, or for real: the two are never added up.
    pub dry_run: bool,
    /// What profit and fees are in.
    pub currency: String,
    /// How many trades were closed.
    pub trades: u64,
    /// How many of them made a profit.
    pub wins: u64,
    /// What they made together.
    pub profit: Quote,
    /// The same in US dollars, as each was worth when it was closed.
    pub profit_usd: Quote,
    /// How many of them had no value in dollars then: they are not in `profit_usd`.
    pub unvalued_trades: u64,
    /// What they paid in fees.
    pub fees: Quote,
    /// The furthest that the sum of their profits fell below its highest, from close to close.
    pub max_drawdown: Quote,
}

/// What one group is told apart by; its order is that of the answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Group {
    period: Option<std::cmp::Reverse<Date>>,
    bot_id: Option<BotId>,
    pair: Option<String>,
    dry_run: bool,
    currency: String,
}

/// A group's sums as its trades are counted, oldest first.
#[derive(Default)]
struct Sums {
    trades: u64,
    wins: u64,
    profit: Decimal,
    profit_usd: Decimal,
    unvalued: u64,
    fees: Decimal,
    highest: Decimal,
    drawdown: Decimal,
}

impl EngineHandle {
    /// What an account's closed trades made, newest period first, by bot and pair in their order.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a time zone that is not known; [`EngineError::Store`].
    pub async fn profits(
        &self,
        account: AccountId,
        by: ProfitsBy,
        zone: &str,
        filter: ProfitFilter,
    ) -> Result<Vec<Profits>, EngineError> {
        let zone = TimeZone::get(zone).map_err(|_| {
            let shown: String = zone.chars().take(60).collect();
            EngineError::field("tz", format!("`{shown}` is no time zone such as UTC or Europe/Berlin"))
        })?;
        let ask =
            move |store: crate::store::Store| async move { store.closed_trades(account, &filter).await };
        let closed = self.read_list(account, ask).await?;
        Ok(added_up(&closed, by, &zone))
    }
}

/// Adds closed trades up, which come in the order in which they were closed.
fn added_up(closed: &[ClosedTrade], by: ProfitsBy, zone: &TimeZone) -> Vec<Profits> {
    let mut groups: BTreeMap<Group, Sums> = BTreeMap::new();
    for trade in closed {
        let group = Group {
            period: period(trade.closed_at, by, zone).map(std::cmp::Reverse),
            bot_id: (by == ProfitsBy::Bot).then_some(trade.bot_id),
            pair: (by == ProfitsBy::Pair).then(|| trade.pair.to_string()),
            dry_run: trade.dry_run,
            currency: trade.pair.quote().to_owned(),
        };
        groups.entry(group).or_default().count(trade);
    }
    groups.into_iter().map(|(group, sums)| sums.shown(group)).collect()
}

fn period(at: Timestamp, by: ProfitsBy, zone: &TimeZone) -> Option<Date> {
    let at = jiff::Timestamp::from_nanosecond(i128::from(at.nanos())).ok()?;
    let day = at.to_zoned(zone.clone()).date();
    match by {
        ProfitsBy::Day => Some(day),
        ProfitsBy::Week => day.checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days()).ok(),
        ProfitsBy::Month => Some(day.first_of_month()),
        ProfitsBy::Bot | ProfitsBy::Pair => None,
    }
}

impl Sums {
    fn count(&mut self, trade: &ClosedTrade) {
        let profit = trade.profit.decimal();
        self.trades += 1;
        self.wins += u64::from(profit > Decimal::ZERO);
        self.profit += profit;
        self.fees += trade.fees.decimal();
        match trade.profit_usd {
            Some(usd) => self.profit_usd += usd.decimal(),
            None => self.unvalued += 1,
        }
        self.highest = self.highest.max(self.profit);
        self.drawdown = self.drawdown.max(self.highest - self.profit);
    }

    fn shown(self, group: Group) -> Profits {
        let quote = |value: Decimal| Quote::new(value.normalize()).unwrap_or_default();
        Profits {
            period: group.period.map(|day| day.0.to_string()),
            bot_id: group.bot_id,
            pair: group.pair.and_then(|pair| pair.parse().ok()),
            dry_run: group.dry_run,
            currency: group.currency,
            trades: self.trades,
            wins: self.wins,
            profit: quote(self.profit),
            profit_usd: quote(self.profit_usd),
            unvalued_trades: self.unvalued,
            fees: quote(self.fees),
            max_drawdown: quote(self.drawdown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(at: &str, pair: &str, profit: &str, usd: Option<&str>) -> ClosedTrade {
        ClosedTrade {
            bot_id: BotId::from_u128(1),
            pair: pair.parse().unwrap(),
            dry_run: true,
            closed_at: at.parse().unwrap(),
            profit: profit.parse().unwrap(),
            profit_usd: usd.map(|usd| usd.parse().unwrap()),
            fees: "0.1".parse().unwrap(),
        }
    }

    #[track_caller]
    fn check(by: ProfitsBy, zone: &str, expected: &[(&str, u64, &str, &str)]) {
        let closed = [
            trade("2026-03-29T21:30:00Z", "BTC/USDT", "5", Some("5")),
            trade("2026-03-29T22:30:00Z", "BTC/USDT", "-2", Some("-2")),
            trade("2026-04-01T12:00:00Z", "ETH/USDT", "-1", None),
            trade("2026-04-01T13:00:00Z", "ETH/USDT", "4", Some("4")),
        ];
        let rows = added_up(&closed, by, &TimeZone::get(zone).unwrap());
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let pair = row.pair.as_ref().map(ToString::to_string);
                let name = row.period.clone().or(pair).unwrap_or_default();
                (name, row.trades, row.profit.to_string(), row.max_drawdown.to_string())
            })
            .collect();
        let shown: Vec<_> = rows.iter().map(|(name, n, p, d)| (&**name, *n, &**p, &**d)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_day_begins_at_midnight_of_its_time_zone() {
        check(ProfitsBy::Day, "UTC", &[("2026-04-01", 2, "3", "1"), ("2026-03-29", 2, "3", "2")]);
        // There the clock went forward that day: 22:30 UTC is half past midnight of the next.
        let berlin = [("2026-04-01", 2, "3", "1"), ("2026-03-30", 1, "-2", "2"), ("2026-03-29", 1, "5", "0")];
        check(ProfitsBy::Day, "Europe/Berlin", &berlin);
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_their_first() {
        check(ProfitsBy::Week, "UTC", &[("2026-03-30", 2, "3", "1"), ("2026-03-23", 2, "3", "2")]);
        check(ProfitsBy::Month, "UTC", &[("2026-04-01", 2, "3", "1"), ("2026-03-01", 2, "3", "2")]);
        check(ProfitsBy::Pair, "UTC", &[("BTC/USDT", 2, "3", "2"), ("ETH/USDT", 2, "3", "1")]);
    }

    #[test]
    fn what_had_no_value_in_dollars_is_counted_apart() {
        let closed = [trade("2026-04-01T12:00:00Z", "ETH/BTC", "1", None)];
        let rows = added_up(&closed, ProfitsBy::Bot, &TimeZone::UTC);
        assert_eq!(
            (rows[0].unvalued_trades, rows[0].profit_usd, rows[0].currency.as_str()),
            (1, Quote::ZERO, "BTC")
        );
        assert_eq!(rows[0].bot_id, Some(BotId::from_u128(1)));
    }
}
