//! What a ladder comes to on its market: its factors, reckoned exactly and once per bot.

use model::{Fault, Faults, Market, Pct, Price, Rate, Warning};
use rust_decimal::Decimal;

use super::definition::DcaDefinition;
use crate::definition::{BotDefinition, StopLossBasis};
use crate::error::StrategyError;
use crate::exact::{self, Exact, Factor, Rounding};
use crate::market_rules::{MAX_STAKE, MarketRules};

/// A bot's rules in the form that deciding needs. Bots with one definition on one market may share it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DcaPlan {
    pub(crate) rules: MarketRules,
    /// The entries, the base order first.
    pub(crate) rungs: Vec<Rung>,
    /// From the average price to the stop: `(1+f)(1+stop_loss/100)`. As in all factors `1+f` stands for the fee of
    /// the entries, which live entries bring along in what they cost.
    pub(crate) stop: Option<Factor>,
    pub(crate) stop_basis: StopLossBasis,
    /// From the average price to the take-profit price: `(1+f)(1+take_profit/100)/(1−f)`.
    pub(crate) take_profit: Option<Factor>,
    pub(crate) trailing_take_profit: Option<Rate>,
    pub(crate) trailing_stop: Option<Rate>,
    pub(crate) cooldown_s: u64,
    warnings: Vec<Warning>,
}

/// One entry of the ladder.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Rung {
    /// From the base order's average fill price to the trigger: `(1+f)(1−Dₖ)`; 1 for the base order.
    pub(crate) trigger: Factor,
    /// What it spends, in quote.
    pub(crate) stake: Factor,
}

impl DcaPlan {
    /// Works a definition out against its market (contract §4).
    ///
    /// # Errors
    /// A ladder that reaches 100 % or spends beyond reason, one of two or more entries whose deviation is not
    /// larger than the fee, a stop that would fire at once, a take-profit of 0 without a fee: all that apply.
    pub(crate) fn new(bot: &BotDefinition, dca: &DcaDefinition, market: &Market) -> Result<Self, Faults> {
        let one = Exact::from(Decimal::ONE);
        let fee = Exact::from(market.fee.decimal());
        let with_fee = &one + &fee;
        let entry_fee = if bot.dry_run { with_fee.clone() } else { one.clone() };
        let fraction = |pct: Pct| Exact::from(pct.fraction());
        let mut faults = Vec::new();
        let mut fault = |param: &str, message: String| {
            faults.push(Fault { param: param.to_owned(), code: "parameter_invalid", message });
        };

        let keep = |stop_loss: Pct| &one + &fraction(stop_loss);
        if let Some(stop_loss) = bot.stop_loss.filter(|pct| &with_fee * &keep(*pct) >= one) {
            let message = format!(
                "{stop_loss} would stop at once: with a fee of {} it must lie below the fee that the entry paid",
                market.fee
            );
            fault("stop_loss", message);
        }
        if bot.take_profit.is_some_and(Pct::is_zero) && market.fee.is_zero() {
            fault("take_profit", "0 needs a fee above 0: it would close at its own entry price".to_owned());
        }
        let deviation = fraction(dca.price_deviation);
        if bot.max_open_trades >= 2 && deviation <= fee {
            let message = format!(
                "{} % is not larger than the fee of {}: the first safety order would lie above the base fill",
                dca.price_deviation, market.fee
            );
            fault("dca.price_deviation", message);
        }

        let mut rungs =
            vec![Rung { trigger: Factor::new(&one), stake: Factor::new(&bot.stake_amount.decimal().into()) }];
        let mut ladder = Vec::new();
        let (mut depth, mut distance) = (Exact::from(Decimal::ZERO), deviation);
        let mut stake = Exact::from(dca.safety_stake.decimal());
        let mut total = Exact::from(bot.stake_amount.decimal());
        let (step_scale, volume_scale) = (Exact::from(dca.step_scale), Exact::from(dca.volume_scale));
        for entry in 1..bot.max_open_trades {
            depth += &distance;
            total += &stake;
            if depth >= one {
                let message = format!(
                    "{} safety orders reach 100 % below the base price at number {entry}: lower max_open_trades, dca.price_deviation or dca.step_scale",
                    bot.max_open_trades - 1
                );
                fault("dca.price_deviation", message);
                break;
            }
            if total > Exact::from(MAX_STAKE) {
                let message =
                    format!("the ladder spends more than {MAX_STAKE} by safety order {entry}: lower it");
                fault("dca.volume_scale", message);
                break;
            }
            rungs.push(Rung {
                trigger: Factor::new(&(&entry_fee * &(&one - &depth))),
                stake: Factor::new(&stake),
            });
            ladder.push((depth.clone(), stake.clone()));
            distance *= &step_scale;
            stake *= &volume_scale;
        }
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let kept = &one - &fee;
        Ok(Self {
            warnings: warnings(bot, market, &ladder),
            rules: MarketRules { market: *market, entries: dca.order_type, is_live: !bot.dry_run },
            rungs,
            stop: bot.stop_loss.map(|pct| Factor::new(&(&entry_fee * &keep(pct)))),
            stop_basis: bot.stop_loss_basis,
            take_profit: bot
                .take_profit
                .map(|pct| Factor::quotient(&(&entry_fee * &(&one + &fraction(pct))), &kept)),
            trailing_take_profit: bot.trailing_take_profit.and_then(|pct| Rate::from_pct(pct).ok()),
            trailing_stop: bot.trailing_stop.and_then(|pct| Rate::from_pct(pct).ok()),
            cooldown_s: dca.cooldown_s,
        })
    }

    /// What is allowed, but its owner should know.
    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Checks every entry against the venue's minimum, reckoned from rounded quantities, if the base order
    /// filled at `price`.
    ///
    /// # Errors
    /// The stakes that are below [`Market::min_notional`] or beyond [`Market::bounds`], and the stake of a live bot that
    /// could not sell again what it would receive.
    pub(crate) fn check_minimum(&self, price: Price) -> Result<(), Faults> {
        let mut faults = Vec::new();
        for (entry, rung) in self.rungs.iter().enumerate() {
            let tick = self.rules.market.tick_size;
            let trigger = if entry == 0 {
                Some(price)
            } else {
                exact::level(price.decimal(), Decimal::ONE, &rung.trigger, tick, Rounding::Down)
            };
            let Some(trigger) = trigger else { continue };
            let param = if entry == 0 { "stake_amount" } else { "dca.safety_stake" };
            let index = u32::try_from(entry).unwrap_or(u32::MAX);
            let message = match self.rules.entry(index, &rung.stake, trigger) {
                Err(StrategyError::OutOfRange) => {
                    format!("entry {} is more than can be bought at {trigger}", entry + 1)
                }
                Err(trouble) => trouble.to_string(),
                Ok(qty) if entry == 0 && self.rules.is_live => match self.rules.unsellable(qty, price) {
                    Some(why) => format!("entry 1 {why}: it could not be sold"),
                    None => continue,
                },
                Ok(_) => continue,
            };
            faults.push(Fault { param: param.to_owned(), code: "parameter_invalid", message });
        }
        faults.dedup_by(|a, b| a.param == b.param);
        if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
    }

    /// The same ladder on the pair's grid as it is now, at the fees of before.
    #[must_use]
    pub(crate) fn on_grid(&self, market: &Market) -> Self {
        Self { rules: self.rules.on_grid(market), ..self.clone() }
    }

    /// How many entries a trade may have.
    pub(crate) fn entries(&self) -> usize {
        self.rungs.len()
    }
}

/// Warns of a missing stop, and of safety orders that lie at or below the stop that the entries before them make: those
/// never fill.
///
/// Reckoned for a base price of 1 in plain decimals: a warning may be a grid step off, a level never is.
fn warnings(bot: &BotDefinition, market: &Market, rungs: &[(Exact, Exact)]) -> Vec<Warning> {
    let Some(stop_loss) = bot.stop_loss else { return bot.no_stop().into_iter().collect() };
    let with_fee = Decimal::ONE + market.fee.decimal();
    let keep = Decimal::ONE + stop_loss.fraction();
    let base_stop = with_fee * keep;
    let mut spent = bot.stake_amount.decimal();
    let mut held = spent;
    let mut never = 0_usize;
    for (depth, stake) in rungs {
        let trigger = with_fee * (Decimal::ONE - approximate(depth));
        let average_stop = spent.checked_div(held).unwrap_or(Decimal::ONE) * base_stop;
        let stop = if bot.stop_loss_basis == StopLossBasis::Average { average_stop } else { base_stop };
        if trigger <= stop {
            never += 1;
        } else {
            let stake = approximate(stake);
            spent += stake;
            held += stake.checked_div(trigger).unwrap_or_default();
        }
    }
    if never == 0 {
        return Vec::new();
    }
    let message = format!(
        "{never} of {} safety orders lie at or below the stop of {stop_loss} % and will not fill",
        rungs.len()
    );
    vec![Warning { param: "stop_loss".to_owned(), code: "safety_orders_below_stop", message }]
}

/// A fraction as a decimal, cut after nine places.
fn approximate(value: &Exact) -> Decimal {
    value.cut(9).unwrap_or_default()
}
