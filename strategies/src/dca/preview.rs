//! A ladder before it is traded: what each entry would buy if the market fell from trigger to trigger.

use std::sync::Arc;

use model::{ExitReason, Fault, Faults, Price, Timestamp, Warning};

use super::plan::DcaPlan;
use crate::error::StrategyError;
use crate::exact;
use crate::machine::Action;
use crate::paper::{PaperBot, PaperStep};
use crate::plan::Plan;
use crate::preview::{Preview, PreviewedEntry};

/// The ladder of a plan on paper, whose base order is decided at `price`. One that is not meant for paper warns of what it
/// could not sell again.
///
/// # Errors
/// Amounts that cannot be kept exactly.
pub(crate) fn preview(plan: &Arc<DcaPlan>, price: Price, on_paper: bool) -> Result<Preview, Faults> {
    let mut paper = PaperBot::with_plan(&Plan::Dca(plan.clone()));
    let market = &plan.rules.market;
    let (mut entries, mut warnings) = (Vec::new(), Vec::new());
    let mut trigger = Some(price);
    let mut is_reached = true;
    for (index, rung) in (0_u32..).zip(&plan.rungs) {
        let Some(decided) = trigger else { break };
        let stop = paper.machine().stop_price().filter(|stop| decided <= *stop && is_reached);
        if let Some(stop) = stop {
            is_reached = false;
            warnings.push(unreached(&paper, index, plan.entries(), stop));
        }
        let qty = exact::quantity(&rung.stake, decided, market.lot_step).ok_or_else(|| too_much(index))?;
        warnings.extend(plan.rules.entry(index, &rung.stake, decided).err().map(|why| refused(index, &why)));
        if index == 0 && !on_paper {
            warnings.extend(plan.rules.unsellable(qty, decided).map(|why| unsold(index, &why)));
        }
        let action = Action::Buy { index, qty, price: decided };
        let mut steps = Vec::new();
        paper.fill(action, Timestamp::MIN, &mut steps).map_err(|_| too_much(index))?;
        let Some(PaperStep::Entered(entry)) = steps.pop() else { return Err(too_much(index)) };
        entries.push(PreviewedEntry::of(entry, is_reached, &paper, market));
        trigger = paper.machine().next_trigger();
    }
    let never = plan.entries() - entries.len();
    if never > 0 {
        let message = format!("the triggers of {never} safety orders round to 0: they never fire");
        warnings.push(Warning {
            param: "dca.price_deviation".to_owned(),
            code: "trigger_below_tick",
            message,
        });
    }
    warnings.dedup_by(|a, b| a.param == b.param);
    Ok(Preview { entries, warnings })
}

/// Safety order `index` and all below it lie at or under the stop of the entries before.
fn unreached(paper: &PaperBot, index: u32, entries: usize, stop: Price) -> Warning {
    let is_stop = paper.machine().stop_reason(stop) == ExitReason::StopLoss;
    let (param, word) = if is_stop { ("stop_loss", "stop") } else { ("trailing_stop", "trailing stop") };
    let never = entries.saturating_sub(index as usize);
    let message = format!(
        "{never} of {} safety orders lie at or below the {word} ({stop} before entry {}) and will not fill",
        entries.saturating_sub(1),
        index + 1
    );
    Warning { param: param.to_owned(), code: "safety_orders_below_stop", message }
}

/// An entry that the venue would not take.
fn refused(index: u32, why: &StrategyError) -> Warning {
    let message = format!("such a bot is refused: {why}");
    Warning { param: stake_of(index).to_owned(), code: why.code(), message }
}

/// An entry that could not be sold again.
fn unsold(index: u32, why: &str) -> Warning {
    let message = format!("entry {} {why}: such a bot is refused", index + 1);
    Warning { param: stake_of(index).to_owned(), code: "stake_below_minimum", message }
}

fn too_much(index: u32) -> Faults {
    let message = format!("entry {} is more than can be kept exactly at this price", index + 1);
    Faults(vec![Fault { param: stake_of(index).to_owned(), code: "parameter_invalid", message }])
}

const fn stake_of(index: u32) -> &'static str {
    if index == 0 { "stake_amount" } else { "dca.safety_stake" }
}
