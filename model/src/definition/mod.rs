//! A bot as its owner defined it (contract §3), parsed once from a request, all faults reported together.

mod parse;
mod schema;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Exchange, ExchangeId, OrderType, Pair, Pct, Quote};

pub use schema::{AddedFunds, BotPatch, NewBot, PreviewedBot};

/// A valid bot definition, every default filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BotDefinition {
    /// What its owner calls it.
    pub name: String,
    /// Where it trades.
    pub exchange: Exchange,
    /// What it trades.
    pub pair: Pair,
    /// How it decides.
    pub strategy: StrategyDefinition,
    /// What the base order spends.
    pub stake_amount: Quote,
    /// How many entries a trade may have: the base order and its safety orders; 1 to 100.
    pub max_open_trades: u32,
    /// Where it gives up, in percent of the basis; above -100 and below 0.
    pub stop_loss: Pct,
    /// What `stop_loss` is measured from.
    pub stop_loss_basis: StopLossBasis,
    /// The percent that is left after both fees when it takes its profit; 0 or more.
    pub take_profit: Pct,
    /// How far the price may fall back once the take-profit price was reached.
    pub trailing_take_profit: Option<Pct>,
    /// How far under the highest price since the last entry the stop follows.
    pub trailing_stop: Option<Pct>,
    /// Whether it trades on paper.
    pub dry_run: bool,
    /// Which stored connection a live bot uses; without it the only one that its owner has at the venue.
    pub exchange_id: Option<ExchangeId>,
    /// Whether a live bot's stop also rests at the venue, where it works while this process does not; true by
    /// default, and without meaning on paper.
    pub stop_on_venue: bool,
}

/// How a bot decides: one variant per strategy, each with the object of its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StrategyDefinition {
    /// Buy, average down, take profit or stop (contract §4).
    Dca(DcaDefinition),
}

impl StrategyDefinition {
    /// The name on the wire.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Dca(_) => "dca",
        }
    }
}

/// What the `dca` object holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DcaDefinition {
    /// What the first safety order spends; `stake_amount` by default.
    pub safety_stake: Quote,
    /// How far under P₀ the first safety order lies, in percent; above 0.
    pub price_deviation: Pct,
    /// What each next distance is multiplied by; above 0.
    pub step_scale: Decimal,
    /// What each next stake is multiplied by; above 0.
    pub volume_scale: Decimal,
    /// How long it waits after a close, in seconds.
    pub cooldown_s: u64,
    /// How entries are worked.
    pub order_type: OrderKind,
}

/// How entries are worked at the venue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// At whatever the book gives.
    #[default]
    Market,
    /// At the price decided at or better; what is left of it is taken back after 30 seconds.
    Limit,
}

impl From<OrderKind> for OrderType {
    fn from(kind: OrderKind) -> Self {
        match kind {
            OrderKind::Market => Self::Market,
            OrderKind::Limit => Self::Limit,
        }
    }
}

/// What a stop loss is measured from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopLossBasis {
    /// The average cost price A: the stop moves with every entry.
    #[default]
    Average,
    /// The base order's cost price P₀: averaging leaves the stop where it is.
    BaseOrder,
}

/// One bad field: which, what was given, and what would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error, utoipa::ToSchema)]
#[error("{param}: {message}")]
pub struct Fault {
    /// The field, `dca.step_scale` for one inside an object.
    pub param: String,
    /// A stable word for programs: `parameter_missing`, `parameter_invalid`, `parameter_unknown`.
    pub code: &'static str,
    /// A sentence with the value and the remedy.
    pub message: String,
}

/// Every bad field of a definition; never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Faults(pub Vec<Fault>);

/// Something allowed that its owner should know, such as a safety order below its stop.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, utoipa::ToSchema)]
pub struct Warning {
    /// The field it is about.
    pub param: String,
    /// A stable word for programs: `stop_below_tick`, `stake_above_maximum`.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

impl utoipa::PartialSchema for BotDefinition {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        Shown::schema()
    }
}

impl utoipa::ToSchema for BotDefinition {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        <Shown<'_> as utoipa::ToSchema>::schemas(schemas);
    }
}

/// As contract §3 shows it, every field present.
impl Serialize for BotDefinition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown::from(self).serialize(serializer)
    }
}

impl BotDefinition {
    /// The definition as one JSON object.
    ///
    /// # Panics
    /// Never: every field is JSON.
    pub fn to_json(&self) -> Box<RawValue> {
        serde_json::value::to_raw_value(self).expect("every field is JSON")
    }
}

/// The wire form of a definition: flat, with one object named after the strategy.
#[derive(Serialize, utoipa::ToSchema)]
struct Shown<'a> {
    name: &'a str,
    exchange: Exchange,
    pair: &'a Pair,
    #[schema(value_type = schema::Strategy)]
    strategy: &'static str,
    stake_amount: Quote,
    max_open_trades: u32,
    stop_loss: Pct,
    stop_loss_basis: StopLossBasis,
    take_profit: Pct,
    #[schema(required)]
    trailing_take_profit: Option<Pct>,
    #[schema(required)]
    trailing_stop: Option<Pct>,
    dry_run: bool,
    #[schema(required)]
    exchange_id: Option<ExchangeId>,
    stop_on_venue: bool,
    dca: ShownDca,
}

/// What only the strategy `dca` has.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Dca)]
struct ShownDca {
    safety_stake: Quote,
    price_deviation: Pct,
    #[serde(with = "crate::number")]
    #[schema(value_type = crate::Number)]
    step_scale: Decimal,
    #[serde(with = "crate::number")]
    #[schema(value_type = crate::Number)]
    volume_scale: Decimal,
    cooldown_s: u64,
    order_type: OrderKind,
}

impl<'a> From<&'a BotDefinition> for Shown<'a> {
    fn from(bot: &'a BotDefinition) -> Self {
        let StrategyDefinition::Dca(dca) = &bot.strategy;
        Self {
            name: &bot.name,
            exchange: bot.exchange,
            pair: &bot.pair,
            strategy: bot.strategy.as_str(),
            stake_amount: bot.stake_amount,
            max_open_trades: bot.max_open_trades,
            stop_loss: bot.stop_loss,
            stop_loss_basis: bot.stop_loss_basis,
            take_profit: bot.take_profit,
            trailing_take_profit: bot.trailing_take_profit,
            trailing_stop: bot.trailing_stop,
            dry_run: bot.dry_run,
            exchange_id: bot.exchange_id,
            stop_on_venue: bot.stop_on_venue,
            dca: ShownDca {
                safety_stake: dca.safety_stake,
                price_deviation: dca.price_deviation,
                step_scale: dca.step_scale,
                volume_scale: dca.volume_scale,
                cooldown_s: dca.cooldown_s,
                order_type: dca.order_type,
            },
        }
    }
}
