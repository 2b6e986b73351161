//! A bot as its owner defined it (contract §3), parsed once from a request, all faults reported together.

mod parse;
pub(crate) mod reader;
pub(crate) mod schema;

use model::{Exchange, ExchangeId, Pair, Pct, Quote, Warning};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};

use crate::strategy::{ShownObjects, StrategyDefinition};

pub use schema::{AddedFunds, BotBody, BotPatch, PreviewedBot};

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
    /// Where it gives up, in percent of the basis; above -100 and below 0. `None`: it has no stop at a fixed distance.
    pub stop_loss: Option<Pct>,
    /// What `stop_loss` is measured from.
    pub stop_loss_basis: StopLossBasis,
    /// The percent that is left after both fees when it takes its profit; 0 or more. `None`: it takes no profit.
    pub take_profit: Option<Pct>,
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

impl utoipa::PartialSchema for BotDefinition {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut shown)) = Shown::schema() else { return Shown::schema() };
        if let RefOr::T(Schema::Object(objects)) = ShownObjects::schema() {
            shown.properties.extend(objects.properties);
        }
        RefOr::T(Schema::Object(shown))
    }
}

impl utoipa::ToSchema for BotDefinition {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        <Shown<'_> as utoipa::ToSchema>::schemas(schemas);
        ShownObjects::schemas(schemas);
    }
}

/// As contract §3 shows it, every field present.
impl Serialize for BotDefinition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown::from(self).serialize(serializer)
    }
}

impl BotDefinition {
    /// Whether its whole ladder needs the same funds as another's at the same price.
    pub fn needs_as(&self, other: &Self) -> bool {
        (self.exchange, &self.pair, self.stake_amount, self.max_open_trades, &self.strategy)
            == (other.exchange, &other.pair, other.stake_amount, other.max_open_trades, &other.strategy)
            && self.dry_run == other.dry_run
    }

    /// Whether a trade has a stop, be it one that trails.
    pub const fn has_stop(&self) -> bool {
        self.stop_loss.is_some() || self.trailing_stop.is_some()
    }

    /// Warns of a bot without a stop.
    pub fn no_stop(&self) -> Option<Warning> {
        let message = "the bot has no stop: a falling market may take all that a trade has bought";
        let warning =
            || Warning { param: "stop_loss".to_owned(), code: "no_stop_loss", message: message.to_owned() };
        (!self.has_stop()).then(warning)
    }

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
    #[schema(value_type = crate::strategy::Strategy)]
    strategy: &'static str,
    stake_amount: Quote,
    max_open_trades: u32,
    #[schema(required)]
    stop_loss: Option<Pct>,
    stop_loss_basis: StopLossBasis,
    #[schema(required)]
    take_profit: Option<Pct>,
    #[schema(required)]
    trailing_take_profit: Option<Pct>,
    #[schema(required)]
    trailing_stop: Option<Pct>,
    dry_run: bool,
    #[schema(required)]
    exchange_id: Option<ExchangeId>,
    stop_on_venue: bool,
    #[serde(flatten)]
    #[schema(ignore)]
    object: StrategyObject<'a>,
}

impl<'a> From<&'a BotDefinition> for Shown<'a> {
    fn from(bot: &'a BotDefinition) -> Self {
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
            object: StrategyObject(&bot.strategy),
        }
    }
}

/// The object that is named after the strategy, with its name.
struct StrategyObject<'a>(&'a StrategyDefinition);

impl Serialize for StrategyObject<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0.as_str(), self.0)])
    }
}
