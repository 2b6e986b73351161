//! What a bot's closed trades add up to: running sums, each trade added once, in the order in which they closed.
//!
//! Amounts are exact. Ratios over days are statistics and are reckoned in floats, the only ones in the books.

use model::{Pct, Quote, Timestamp, TradeId};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Serialize};

/// A closed trade, as far as statistics go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClosedTrade {
    pub(crate) id: TradeId,
    pub(crate) opened_at: Timestamp,
    pub(crate) closed_at: Timestamp,
    pub(crate) profit: Quote,
    pub(crate) profit_pct: Pct,
    pub(crate) fees: Quote,
}

/// What a bot's closed trades add up to, in its quote coin.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BotStats {
    /// How many trades it closed.
    pub trades: u64,
    /// How many of them made a profit.
    pub wins: u64,
    /// What they made together, in quote.
    #[serde(with = "model::number")]
    pub profit: Decimal,
    /// What they paid in fees together, in quote.
    #[serde(with = "model::number")]
    pub fees: Decimal,
    /// What those with a profit made together, in quote.
    #[serde(with = "model::number")]
    pub gross_profit: Decimal,
    /// What the others lost together, in quote; not negative.
    #[serde(with = "model::number")]
    pub gross_loss: Decimal,
    /// The most that one made, in quote.
    pub best: Option<Quote>,
    /// The least.
    pub worst: Option<Quote>,
    /// The best trade's profit in percent.
    pub best_pct: Option<Pct>,
    /// The worst trade's profit in percent.
    pub worst_pct: Option<Pct>,
    /// How long they were open together, in seconds.
    pub held_s: i64,
    /// The most that they had made together at any close.
    #[serde(with = "model::number")]
    peak: Decimal,
    /// The furthest that the sum fell below its peak, and that peak.
    #[serde(with = "model::number")]
    max_drawdown: Decimal,
    #[serde(with = "model::number")]
    drawdown_peak: Decimal,
    /// What was made on each UTC day on which a trade closed, counted from 1970.
    days: Vec<(i32, Quote)>,
}

/// A day in nanoseconds.
const DAY: i64 = 86_400_000_000_000;

impl BotStats {
    /// Adds a trade that closed after all that it holds.
    pub(crate) fn add(&mut self, trade: &ClosedTrade) {
        let profit = trade.profit.decimal();
        let is_win = profit > Decimal::ZERO;
        self.trades += 1;
        self.wins += u64::from(is_win);
        let sum = |to: Decimal, what: Decimal| to.checked_add(what).unwrap_or(to);
        self.profit = sum(self.profit, profit);
        self.fees = sum(self.fees, trade.fees.decimal());
        if is_win {
            self.gross_profit = sum(self.gross_profit, profit);
        } else {
            self.gross_loss = sum(self.gross_loss, -profit);
        }
        if self.best.is_none_or(|best| best < trade.profit) {
            (self.best, self.best_pct) = (Some(trade.profit), Some(trade.profit_pct));
        }
        if self.worst.is_none_or(|worst| trade.profit < worst) {
            (self.worst, self.worst_pct) = (Some(trade.profit), Some(trade.profit_pct));
        }
        self.held_s += trade.closed_at.since(trade.opened_at).max(0) / 1_000_000_000;
        self.peak = self.peak.max(self.profit);
        let fallen = self.peak - self.profit;
        if fallen > self.max_drawdown {
            (self.max_drawdown, self.drawdown_peak) = (fallen, self.peak);
        }
        let day = i32::try_from(trade.closed_at.nanos().div_euclid(DAY)).unwrap_or(i32::MAX);
        match self.days.last_mut() {
            // A live trade's time is the venue's, which may lie a moment before the one that closed before it.
            Some((last, made)) if *last >= day => *made += trade.profit,
            _ => self.days.push((day, trade.profit)),
        }
    }

    /// The share of trades that made a profit, in percent, to four decimals; `None` without trades.
    pub fn win_rate(&self) -> Option<Pct> {
        pct(Decimal::from(self.wins), Decimal::from(self.trades)).map(|pct| rounded(pct, 4))
    }

    /// What winners made over what losers lost, to eight decimals; `None` where nothing was lost.
    pub fn profit_factor(&self) -> Option<Quote> {
        let factor = self.gross_profit.checked_div(self.gross_loss)?;
        Quote::new(factor.round_dp(8).normalize()).ok()
    }

    /// What a trade made on average, in quote, to eight decimals; `None` without trades.
    pub fn expectancy(&self) -> Option<Quote> {
        let average = self.profit.checked_div(Decimal::from(self.trades))?;
        Quote::new(average.round_dp(8).normalize()).ok()
    }

    /// The furthest that the sum of profits fell below its highest, from close to close, in quote.
    pub fn max_drawdown(&self) -> Quote {
        Quote::new(self.max_drawdown.normalize()).unwrap_or_default()
    }

    /// The same in percent of what `capital` had grown to at that highest, to eight decimals.
    pub fn max_drawdown_pct(&self, capital: Quote) -> Option<Pct> {
        pct(self.max_drawdown, capital.decimal() + self.drawdown_peak).map(|pct| rounded(pct, 8))
    }

    /// What they made in percent of `capital`, to eight decimals.
    pub fn profit_pct(&self, capital: Quote) -> Option<Pct> {
        pct(self.profit, capital.decimal()).map(|pct| rounded(pct, 8))
    }

    /// How long a trade was open on average, in whole seconds; `None` without trades.
    pub fn average_held_s(&self) -> Option<i64> {
        self.held_s.checked_div(i64::try_from(self.trades).ok()?)
    }

    /// Sharpe and Sortino ratio: of the daily returns of `capital` and what was made of it up to each UTC day's end, from
    /// the day of the first close to that of the last, days without a close included; mean over standard deviation (of a
    /// sample), and mean over the root of the mean square of what was lost; both times √365, to four decimals
    /// (contract §6).
    #[expect(clippy::float_arithmetic, reason = "statistics of a report")]
    pub fn ratios(&self, capital: Quote) -> Ratios {
        let returns = match self.daily_returns(capital) {
            Some(returns) if returns.len() >= 2 => returns,
            Some(_) => return Ratios { sharpe: Err(NoRatio::TooFewDays), sortino: Err(NoRatio::TooFewDays) },
            None => {
                return Ratios { sharpe: Err(NoRatio::CapitalLost), sortino: Err(NoRatio::CapitalLost) };
            }
        };
        let rounded = |ratio: Option<f64>| ratio.map(|ratio| (ratio * 1e4).round() / 1e4);
        Ratios {
            sharpe: rounded(strategies::sharpe(&returns)).ok_or(NoRatio::NoVariation),
            sortino: rounded(strategies::sortino(&returns)).ok_or(NoRatio::NoLosingDay),
        }
    }

    /// What each day made, as a share of what was there before it; `None` where a day began with nothing.
    #[expect(clippy::float_arithmetic, reason = "statistics of a report")]
    fn daily_returns(&self, capital: Quote) -> Option<Vec<f64>> {
        let float = |value: Decimal| value.to_f64().unwrap_or_default();
        let mut equity = float(capital.decimal());
        let mut returns = Vec::with_capacity(self.days.len());
        let mut last: Option<i32> = None;
        for (day, made) in &self.days {
            let idle = last.map_or(0, |last| day.saturating_sub(last).saturating_sub(1));
            returns.extend(std::iter::repeat_n(0.0, usize::try_from(idle).unwrap_or_default()));
            if equity <= 0.0 {
                return None;
            }
            let made = float(made.decimal());
            returns.push(made / equity);
            equity += made;
            last = Some(*day);
        }
        Some(returns)
    }
}

/// Ratios of profit to risk, or why there are none.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ratios {
    /// Mean daily return over its standard deviation, a year's.
    pub sharpe: Result<f64, NoRatio>,
    /// Mean daily return over that of the days that lost, a year's.
    pub sortino: Result<f64, NoRatio>,
}

/// Why a ratio cannot be computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoRatio {
    /// There are fewer than two days.
    TooFewDays,
    /// All days made the same share.
    NoVariation,
    /// No day lost anything.
    NoLosingDay,
    /// A day began with nothing left of the capital, so that what it made is a share of nothing.
    CapitalLost,
}

fn pct(part: Decimal, whole: Decimal) -> Option<Decimal> {
    part.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(whole)
}

fn rounded(pct: Decimal, places: u32) -> Pct {
    Pct::new(pct.round_dp(places).normalize()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trade(number: u128, day: i64, profit: &str, held_s: i64) -> ClosedTrade {
        let closed_at = Timestamp::from_nanos(day * DAY + 3_600_000_000_000);
        ClosedTrade {
            id: TradeId::from_u128(number),
            opened_at: Timestamp::from_nanos(closed_at.nanos() - held_s * 1_000_000_000),
            closed_at,
            profit: profit.parse().unwrap(),
            profit_pct: profit.parse().unwrap(),
            fees: "0.1".parse().unwrap(),
        }
    }

    fn stats(trades: &[(i64, &str)]) -> BotStats {
        let mut stats = BotStats::default();
        for (number, (day, profit)) in (1..).zip(trades) {
            stats.add(&trade(number, *day, profit, 60));
        }
        stats
    }

    fn quote(text: &str) -> Quote {
        text.parse().unwrap()
    }

    #[test]
    fn figures_are_what_their_definitions_say() {
        // 10 up, 4 down, 6 down, 12 up: the sum goes 10, 6, 0, 12.
        let stats = stats(&[(0, "10"), (0, "-4"), (1, "-6"), (3, "12")]);
        assert_eq!((stats.trades, stats.wins), (4, 2));
        assert_eq!(stats.win_rate(), Some("50".parse().unwrap()));
        assert_eq!(stats.profit_factor(), Some(quote("2.2")));
        assert_eq!(stats.expectancy(), Some(quote("3")));
        assert_eq!(stats.max_drawdown(), quote("10"));
        // 10 of 110.
        assert_eq!(stats.max_drawdown_pct(quote("100")), Some("9.09090909".parse().unwrap()));
        assert_eq!(stats.profit_pct(quote("100")), Some("12".parse().unwrap()));
        assert_eq!((stats.best, stats.worst), (Some(quote("12")), Some(quote("-6"))));
        assert_eq!(stats.average_held_s(), Some(60));
        // Days: 6 of 100, −6 of 106, 0, 12 of 100; reckoned apart.
        let Ratios { sharpe, sortino } = stats.ratios(quote("100"));
        assert_eq!((sharpe, sortino), (Ok(7.7394), Ok(20.8244)));
    }

    #[test]
    fn the_best_and_the_worst_percent_are_those_of_the_best_and_the_worst_trade() {
        let mut stats = BotStats::default();
        for (number, profit, pct) in [(1, "10", "1"), (2, "5", "50"), (3, "-9", "-1"), (4, "-2", "-40")] {
            stats.add(&ClosedTrade { profit_pct: pct.parse().unwrap(), ..trade(number, 0, profit, 60) });
        }
        assert_eq!((stats.best, stats.best_pct), (Some(quote("10")), Some("1".parse().unwrap())));
        assert_eq!((stats.worst, stats.worst_pct), (Some(quote("-9")), Some("-1".parse().unwrap())));
    }

    #[test]
    fn what_cannot_be_said_is_not_said() {
        let none = BotStats::default();
        assert_eq!((none.win_rate(), none.profit_factor(), none.expectancy()), (None, None, None));
        assert_eq!(none.average_held_s(), None);
        let one = stats(&[(0, "10")]);
        assert_eq!(one.profit_factor(), None);
        let why = |stats: &BotStats, capital| {
            let Ratios { sharpe, sortino } = stats.ratios(quote(capital));
            (sharpe.err(), sortino.err())
        };
        let both = |why| (Some(why), Some(why));
        assert_eq!(why(&none, "100"), both(NoRatio::TooFewDays));
        assert_eq!(why(&one, "100"), both(NoRatio::TooFewDays));
        assert_eq!(why(&stats(&[(0, "1"), (1, "1")]), "0"), both(NoRatio::CapitalLost));
        assert_eq!(why(&stats(&[(0, "-100"), (1, "5"), (2, "5")]), "100"), both(NoRatio::CapitalLost));
        assert_eq!(why(&stats(&[(0, "5"), (1, "-105")]), "100"), (None, None), "the last day may lose all");
        assert_eq!(why(&stats(&[(0, "10"), (2, "10")]), "100"), (None, Some(NoRatio::NoLosingDay)));
        assert_eq!(why(&stats(&[(0, "0"), (2, "0")]), "100").0, Some(NoRatio::NoVariation));
    }

    proptest! {
        #[test]
        fn sums_that_were_stored_go_on_as_if_they_had_not_been(
            profits in proptest::collection::vec((-1_000_i64..1_000, 0..3_i64), 1..80), cut in 0..80_usize,
        ) {
            let mut day = 0;
            let trades: Vec<ClosedTrade> = (1..).zip(&profits).map(|(number, (cents, later))| {
                day += later;
                trade(number, day, &Decimal::new(*cents, 2).to_string(), 5)
            }).collect();
            let (mut whole, mut stored) = (BotStats::default(), BotStats::default());
            for (index, trade) in trades.iter().enumerate() {
                whole.add(trade);
                if index == cut {
                    stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
                }
                stored.add(trade);
            }
            prop_assert_eq!(&whole, &stored);
            let sums: Vec<Decimal> = trades.iter().scan(Decimal::ZERO, |sum, trade| {
                *sum += trade.profit.decimal();
                Some(*sum)
            }).collect();
            let mut deepest = Decimal::ZERO;
            for (index, low) in sums.iter().enumerate() {
                let high = sums[..=index].iter().copied().max().unwrap().max(Decimal::ZERO);
                deepest = deepest.max(high - low);
            }
            prop_assert_eq!(whole.max_drawdown().decimal(), deepest.normalize());
            prop_assert_eq!(whole.gross_profit - whole.gross_loss, whole.profit);
        }
    }
}
