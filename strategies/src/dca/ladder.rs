//! A ladder as it stands, and what its bot waits for.

use model::{ExitReason, LadderStatus, LadderStep, Price, Quote, Wait, WaitKind};
use rust_decimal::Decimal;

use super::machine::{Dca, Phase};
use crate::exact;
use crate::machine::Event;

impl Dca {
    /// The steps that are not bought yet, as if the market fell from trigger to trigger; empty while flat.
    pub(crate) fn steps_ahead(&self) -> Vec<LadderStep> {
        let Phase::Holding(holding) = self.phase() else { return Vec::new() };
        let plan = self.plan();
        let with_fee = Decimal::ONE + plan.rules.market.fee.decimal();
        let mut ahead = self.clone();
        ahead.go_on(0, false);
        let mut is_reached = true;
        let mut steps = Vec::new();
        for (index, rung) in (0..).zip(&plan.rungs).skip(self.steps_bought() as usize) {
            let price = holding.trigger(plan, index);
            let qty = price.and_then(|price| exact::quantity(&rung.stake, price, plan.rules.market.lot_step));
            let notional = price.zip(qty).and_then(|(price, qty)| price.decimal().checked_mul(qty.decimal()));
            let stake = notional.and_then(|notional| notional.checked_mul(with_fee));
            is_reached &= price.is_some_and(|price| ahead.stop_price().is_none_or(|stop| price > stop));
            let status = if is_reached { LadderStatus::Waiting } else { LadderStatus::Unreachable };
            if let (Some(price), Some(qty), Some(notional), Some(stake)) = (price, qty, notional, stake) {
                // A live machine's entries bring their fee along in what they cost.
                let notional = if plan.rules.is_live { stake } else { notional };
                ahead.on(&Event::Bought { price, notional, qty });
            }
            let stake = stake.and_then(|stake| Quote::new(stake.normalize()).ok());
            steps.push(LadderStep { index, price, qty, stake, status, distance_pct: None });
        }
        steps
    }

    /// What it would act on next, the nearest way out first.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let holding = match self.phase() {
            Phase::Flat { not_before } => {
                let at = *not_before;
                return vec![Wait { kind: WaitKind::BaseOrder, price: None, at, message: None }];
            }
            Phase::Holding(holding) => holding,
        };
        let armed = holding.armed_level(self.plan());
        let take_profit = self.next_above().map(|price| Wait::for_price(WaitKind::TakeProfit, price));
        let trailing = armed.map(|price| Wait::for_price(WaitKind::TrailingTakeProfit, price));
        let stop = self.stop_price().map(|price| {
            let is_trailing = self.stop_reason(price) == ExitReason::TrailingStop;
            let kind = if is_trailing { WaitKind::TrailingStop } else { WaitKind::StopLoss };
            Wait::for_price(kind, price)
        });
        let reachable = |price: &Price| self.stop_price().is_none_or(|stop| *price > stop);
        let next = self.next_trigger().filter(reachable);
        let next = next.map(|price| Wait::for_price(WaitKind::SafetyOrder, price));
        [take_profit, trailing, next, stop].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::BotDefinition;
    use model::{Market, PriceMove, Timestamp};

    use crate::paper::PaperBot;

    use super::*;

    /// A bot of the contract's worked example (§4) after these ticks.
    fn after(ticks: &[&str], fields: &str) -> PaperBot {
        let body = format!(
            r#"{{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":3,"stop_loss":-10,"take_profit":2,"dry_run":true,
            "dca":{{"price_deviation":2,"step_scale":1.5,"volume_scale":2}}{fields}}}"#
        );
        let definition = BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap();
        let market = Market {
            tick_size: "0.01".parse().unwrap(),
            lot_step: "0.001".parse().unwrap(),
            min_notional: "5".parse().unwrap(),
            fee: "0.001".parse().unwrap(),
            slippage: "0".parse().unwrap(),
            bounds: model::OrderBounds::default(),
        };
        let mut paper = PaperBot::new(&definition, &market).unwrap();
        for (second, price) in (1..).zip(ticks) {
            let tick = PriceMove::tick(price.parse().unwrap(), Timestamp::from_millis(second * 1_000));
            paper.on_move(&tick, &mut Vec::new()).unwrap();
        }
        paper
    }

    #[track_caller]
    fn check(paper: &PaperBot, expected: &[(&str, &str, &str, LadderStatus)]) {
        let shown: Vec<_> = paper
            .ladder()
            .into_iter()
            .map(|step| {
                let text = |value: Option<String>| value.unwrap_or_default();
                (
                    text(step.price.map(|price| price.to_string())),
                    text(step.qty.map(|qty| qty.decimal().normalize().to_string())),
                    text(step.stake.map(|stake| stake.decimal().normalize().to_string())),
                    step.status,
                )
            })
            .collect();
        let shown: Vec<_> =
            shown.iter().map(|(price, qty, stake, status)| (&**price, &**qty, &**stake, *status)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_ladder_shows_what_was_bought_and_what_waits() {
        use LadderStatus::{Filled, Waiting};
        check(&after(&[], ""), &[]);
        let base = ("100", "0.5", "50.05", Filled);
        let last = ("95.09", "1.052", "100.13471468", Waiting);
        check(&after(&["100"], ""), &[base, ("98.09", "0.51", "50.0759259", Waiting), last]);
        let below = after(&["100", "98"], "");
        check(&below, &[base, ("98", "0.511", "50.128078", Filled), last]);
    }

    #[test]
    fn a_step_under_the_stop_that_the_steps_before_it_make_is_unreachable() {
        use LadderStatus::{Filled, Unreachable, Waiting};
        // It trails 3 % under 100, and from the first safety order on 3 % under 98.09: at 95.14.
        check(
            &after(&["100"], r#","trailing_stop":3"#),
            &[
                ("100", "0.5", "50.05", Filled),
                ("98.09", "0.51", "50.0759259", Waiting),
                ("95.09", "1.052", "100.13471468", Unreachable),
            ],
        );
    }

    #[test]
    fn a_bot_says_what_it_would_act_on_next() {
        let kinds = |paper: &PaperBot| {
            let waits = paper.machine().waits().into_iter();
            waits.map(|wait| (wait.kind, wait.price.map(|price| price.to_string()))).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&after(&[], "")), [(WaitKind::BaseOrder, None)]);
        let at = |price: &str| Some(price.to_owned());
        assert_eq!(
            kinds(&after(&["100"], "")),
            [
                (WaitKind::TakeProfit, at("102.21")),
                (WaitKind::SafetyOrder, at("98.09")),
                (WaitKind::StopLoss, at("90.09"))
            ]
        );
        let armed = after(&["100", "103"], r#","trailing_take_profit":1,"trailing_stop":3"#);
        assert_eq!(
            kinds(&armed),
            [(WaitKind::TrailingTakeProfit, at("101.97")), (WaitKind::TrailingStop, at("99.91"))]
        );
    }
}
