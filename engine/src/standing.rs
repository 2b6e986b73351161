//! How open trades stand, and what bots wait for: read from what a bot goes on from, at the last price.

use model::{LadderStatus, LadderStep, Market, OrderStatus, Pct, Price, Side, Standing};
use model::{Trade, TradeId, TradeStatus, Wait, WaitKind};
use rust_decimal::Decimal;
use strategies::live::LiveBot;
use strategies::{BotDefinition, PaperBot, Plan};

use crate::change::{BotStatus, Positions};
use crate::record::{Recorder, StoredRun, kept_rules};
use crate::store::StoredBot;

/// A stored bot's machine, as far as people are shown of it.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The trade that it is in, if it holds.
    trade_id: Option<TradeId>,
    ladder: Vec<LadderStep>,
    waits: Vec<Wait>,
}

/// What a bot goes on from, as people are shown it, the highest price that it has slept through counted in; `None` where that
/// does not fit its market any more.
pub(crate) fn shape(bot: &StoredBot, market: &Market, high: Option<Price>) -> Option<Shape> {
    // An open trade may keep rules that its bot has no more.
    let kept = bot.state.as_deref().and_then(kept_rules);
    let definition = kept.as_ref().unwrap_or(&bot.definition);
    let plan = Plan::new(definition, market).ok()?;
    let mut recorder = Recorder::new(bot.account_id, bot.id, definition);
    let stored = bot.state.as_deref().map(|state| recorder.resume(state)).transpose().ok()?.flatten();
    let Some(text) = stored else {
        let waits = PaperBot::with_plan(&plan).machine().waits();
        return Some(Shape { trade_id: None, ladder: Vec::new(), waits });
    };
    let trade_id = recorder.trade_id();
    if definition.dry_run {
        let mut paper = PaperBot::restore(&plan, text).ok()?;
        if let Some(high) = high {
            paper.observe(high);
        }
        let waits = if recorder.stopping() == Some(Positions::Close) {
            let message = format!("the next trade of {}, to sell at its price", definition.pair);
            vec![Wait::held_up(WaitKind::MarketData, message)]
        } else {
            paper.machine().waits()
        };
        return Some(Shape { trade_id, ladder: paper.ladder(), waits });
    }
    let mut live = restored(&plan, definition, text)?;
    if let Some(high) = high {
        live.observe(high, None);
    }
    let mut waits = if live.is_leaving() { Vec::new() } else { live.machine().waits() };
    if live.open_orders().any(|order| order.role != strategies::live::Role::Protection) {
        waits.insert(0, Wait { kind: WaitKind::Order, price: None, at: None, message: None });
    }
    Some(Shape { trade_id, ladder: live.ladder(), waits })
}

fn restored(plan: &Plan, definition: &BotDefinition, text: &str) -> Option<LiveBot> {
    let stored: StoredRun<'_> = serde_json::from_str(text).ok()?;
    LiveBot::restore(plan, crate::live::rules(definition, None), stored.bot.get()).ok()
}

/// Notes how an open trade stands at `last`; `bot` is its bot with its shape, where they are known.
pub(crate) fn stand(trade: &mut Trade, bot: Option<&StoredBot>, shape: Option<&Shape>, last: Option<Price>) {
    if trade.status != TradeStatus::Open {
        return;
    }
    let ladder = shape.filter(|shape| shape.trade_id == Some(trade.id)).map(|shape| &*shape.ladder);
    let mut ladder = ladder.unwrap_or_default().to_vec();
    for step in &mut ladder {
        if step.status != LadderStatus::Filled {
            step.distance_pct = step.price.and_then(|price| distance(price, last?));
        }
    }
    let count =
        |is_counted: &dyn Fn(&LadderStep) -> bool| ladder.iter().filter(|step| is_counted(step)).count();
    let bought = if ladder.is_empty() {
        let is_bought = |side, status| side == Side::Buy && status != OrderStatus::Rejected;
        let orders = trade.orders.iter();
        orders.filter(|order| is_bought(order.side, order.status) && !order.filled_qty.is_zero()).count()
    } else {
        count(&|step| step.status == LadderStatus::Filled)
    };
    let is_next = |step: &&LadderStep| matches!(step.status, LadderStatus::Waiting | LadderStatus::Resting);
    trade.standing = Some(Box::new(Standing {
        last_price: last,
        entries: u32::try_from(bought).unwrap_or(u32::MAX),
        max_entries: bot.map(|bot| bot.definition.max_open_trades),
        next_entry_price: ladder.iter().find(is_next).and_then(|step| step.price),
        take_profit_distance_pct: trade.take_profit_price.and_then(|price| distance(price, last?)),
        stop_distance_pct: trade.stop_price.and_then(|price| distance(price, last?)),
        ladder,
    }));
}

/// How far a level is from the last price, in percent of the last price.
fn distance(level: Price, last: Price) -> Option<Pct> {
    let share = (level.decimal() - last.decimal()).checked_div(last.decimal())?;
    Pct::new((share * Decimal::ONE_HUNDRED).round_dp(4).normalize()).ok()
}

/// What a bot waits for; `hindrance` is what keeps its market data from it.
pub(crate) fn waits(bot: &StoredBot, shape: Option<Shape>, hindrance: Option<String>) -> Vec<Wait> {
    let is_waiting_for_venue =
        bot.status == BotStatus::Starting || (bot.status == BotStatus::Error && bot.is_living());
    if is_waiting_for_venue {
        let (exchange, pair) = (bot.definition.exchange, &bot.definition.pair);
        let message =
            format!("{exchange} has not said yet what {pair} is like; the bot goes on once it does");
        let hindrance = hindrance.map(|why| Wait::held_up(WaitKind::MarketData, why));
        return [Wait::held_up(WaitKind::Venue, message)].into_iter().chain(hindrance).collect();
    }
    match bot.status {
        BotStatus::Running | BotStatus::Stopping => {
            let hindrance = hindrance.map(|why| Wait::held_up(WaitKind::MarketData, why));
            hindrance.into_iter().chain(shape.into_iter().flat_map(|shape| shape.waits)).collect()
        }
        BotStatus::Stopped | BotStatus::Starting | BotStatus::Error => Vec::new(),
    }
}
