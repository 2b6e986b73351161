//! An open trade's entries as they stand, bought and to come: what people are shown of a bot.

use model::{LadderStatus, LadderStep, Price, Qty, Quote};

use crate::live::{LiveBot, Role};
use crate::paper::PaperBot;

impl PaperBot {
    /// The open trade's ladder, the base order first; empty while flat.
    pub fn ladder(&self) -> Vec<LadderStep> {
        let bought = self.books().entries.iter().filter(|entry| !entry.by_hand).map(|entry| {
            let stake = entry.price * entry.qty + entry.fee;
            filled(entry.index, Some(entry.price), entry.qty, stake)
        });
        bought.chain(self.machine().steps_ahead()).collect()
    }
}

impl LiveBot {
    /// The open trade's ladder, the base order first; empty while flat.
    pub fn ladder(&self) -> Vec<LadderStep> {
        let pair = &self.rules().pair;
        let entries = self.trade().orders.iter().filter_map(|order| match order.role {
            Role::Entry(index) => Some((index, order)),
            Role::Added | Role::Exit | Role::Protection => None,
        });
        let bought =
            entries.clone().filter(|(_, order)| !order.executions.is_empty()).map(|(index, order)| {
                let qty = order.executions.iter().map(|execution| execution.qty).sum();
                filled(index, order.average_price(), qty, order.spent(pair))
            });
        let bought: Vec<LadderStep> = bought.collect();
        let is_bought = |index| bought.iter().any(|step| step.index == index);
        let ahead = self.machine().steps_ahead().into_iter().filter(|step| !is_bought(step.index));
        let ahead = ahead.map(|step| {
            let is_ordered = entries.clone().any(|(index, order)| index == step.index && !order.is_settled());
            let status = if is_ordered { LadderStatus::Resting } else { step.status };
            LadderStep { status, ..step }
        });
        bought.iter().cloned().chain(ahead).collect()
    }
}

const fn filled(index: u32, price: Option<Price>, qty: Qty, stake: Quote) -> LadderStep {
    let status = LadderStatus::Filled;
    LadderStep { index, price, qty: Some(qty), stake: Some(stake), status, distance_pct: None }
}
