//! The bodies that define a bot as an OpenAPI document tells of them: what [`BotDefinition::parse`] takes, field by
//! field, with the same ranges.
//!
//! [`BotDefinition::parse`]: super::BotDefinition::parse

use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use std::borrow::Cow;

use model::{Exchange, ExchangeId, Pair};

use super::StopLossBasis;
use crate::strategy::{NewObjects, Strategy};

/// A bot as you define it: the eight required fields, and what refines them.
#[derive(ToSchema)]
#[schema(example = json!({"name": "BTC DCA Bot", "exchange": "binance", "pair": "BTC/USDT",
    "strategy": "dca", "stake_amount": 50, "max_open_trades": 5, "stop_loss": -10, "dry_run": true}))]
#[expect(
    dead_code,
    reason = "a body is parsed field by field, so that all its faults are told; this is its schema"
)]
struct CommonFields {
    /// What you call it.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// Where it trades.
    exchange: Exchange,
    /// What it trades.
    pair: Pair,
    /// How it decides.
    strategy: Strategy,
    /// The quote currency that the base order spends.
    stake_amount: Stake,
    /// The most entries that one trade may have: the base order and its safety orders.
    max_open_trades: Entries,
    /// Where it gives up, in percent of `stop_loss_basis`: -10 is ten percent down. `null`: it has no such stop, which it
    /// is warned of (`no_stop_loss`) unless it has a trailing stop.
    #[schema(required)]
    stop_loss: Option<Loss>,
    /// What `stop_loss` is measured from; `average` by default.
    stop_loss_basis: Option<StopLossBasis>,
    /// The percent that is left after both fees when it takes its profit; 2 where it is left out. `null`: it takes no
    /// profit, and has no `trailing_take_profit` either.
    take_profit: Option<Gain>,
    /// Once the take-profit price was reached, it sells when the price falls back by this percent; off by default.
    trailing_take_profit: Option<Distance>,
    /// The stop follows the highest price since the last entry at this percent below it; off by default.
    trailing_stop: Option<Distance>,
    /// `true`: on paper, at the venue's prices and fees. `false`: with signed orders.
    dry_run: bool,
    /// Which stored connection a live bot uses; the only one at the venue by default.
    exchange_id: Option<ExchangeId>,
    /// Whether a live bot's stop also rests at the venue, where it works while we do not; `true` by default.
    stop_on_venue: Option<bool>,
}

/// A bot as you define it.
#[derive(Clone, Copy, Debug)]
pub struct BotBody;

impl PartialSchema for BotBody {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut body)) = CommonFields::schema() else {
            return CommonFields::schema();
        };
        if let RefOr::T(Schema::Object(objects)) = NewObjects::schema() {
            body.properties.extend(objects.properties);
        }
        RefOr::T(Schema::Object(body))
    }
}

impl ToSchema for BotBody {
    fn name() -> Cow<'static, str> {
        "NewBot".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        CommonFields::schemas(schemas);
        NewObjects::schemas(schemas);
    }
}

/// What of a bot is to change: what is not named stays, and `null` takes a field back to its default; for `stop_loss` and
/// `take_profit` it means none.
#[derive(Clone, Copy, Debug)]
pub struct BotPatch;

impl PartialSchema for BotPatch {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut body)) = BotBody::schema() else { return BotBody::schema() };
        body.required.clear();
        body.description = Some(
            "What of a bot is to change: what is not named stays, `null` takes a field back to its default (`stop_loss` \
             and `take_profit`: to none), and `dca` is merged field by field. Fields of the answer that cannot be set, \
             such as `id` or `stats`, are ignored where they are as they stand."
                .to_owned(),
        );
        body.example = Some(serde_json::json!({"stop_loss": -12.5, "dca": {"price_deviation": 1.5}}));
        RefOr::T(Schema::Object(body))
    }
}

impl ToSchema for BotPatch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        BotBody::schemas(schemas);
    }
}

/// A bot as it is to be previewed: the body that would make it, and a price.
#[derive(Clone, Copy, Debug)]
pub struct PreviewedBot;

impl PartialSchema for PreviewedBot {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut body)) = BotBody::schema() else { return BotBody::schema() };
        body.description =
            Some("The body of `POST /v1/bots`, and what the base order is taken to cost.".to_owned());
        body.properties.insert("price".to_owned(), schema_of_price());
        RefOr::T(Schema::Object(body))
    }
}

impl ToSchema for PreviewedBot {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        BotBody::schemas(schemas);
    }
}

fn schema_of_price() -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut price)) = PriceInput::schema() else { return PriceInput::schema() };
    price.schema_type = SchemaType::Array(vec![Type::Number, Type::String, Type::Null]);
    price.description =
        Some("What the base order is taken to be decided at; the pair's last price by default.".to_owned());
    RefOr::T(Schema::Object(price))
}

/// How much is to be added to a trade: one of the two.
#[derive(ToSchema)]
#[schema(min_properties = 1, max_properties = 1, example = json!({"amount": 25}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
pub struct AddedFunds {
    /// How much to spend, in quote.
    #[schema(nullable = false)]
    amount: Option<Amount>,
    /// How much to buy, in base.
    #[schema(nullable = false)]
    qty: Option<Amount>,
}

macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident: $schema:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($schema.build()))
            }
        }

        impl ToSchema for $name {}
    )*};
}

inputs! {
    /// An amount of quote.
    Stake: number("An amount of the quote coin, above 0.", r"[1-9][0-9]{0,11}|1000000000000", false)
        .exclusive_minimum(Some(0)).maximum(Some(1_000_000_000_000_i64));
    /// An amount that is not bounded by a definition.
    Amount: number("An amount above 0.", r"[1-9][0-9]{0,14}|1000000000000000", false)
        .exclusive_minimum(Some(0)).maximum(Some(1_000_000_000_000_000_i64));
    /// A price.
    PriceInput: number("A price above 0.", r"[1-9][0-9]{0,9}", false)
        .exclusive_minimum(Some(0)).maximum(Some(92_233_720_368_i64));
    /// How many entries.
    Entries: whole("A whole number from 1 to 100.", "^([1-9][0-9]?|100)$")
        .minimum(Some(1)).maximum(Some(100));
    /// Seconds.
    Seconds: whole("A whole number of seconds, of at most ten years.", "^(0|[1-9][0-9]{0,7})$")
        .minimum(Some(0)).maximum(Some(315_360_000));
    /// A percent downward.
    Loss: number("A percent below 0 and above -100.", r"-[1-9][0-9]?", false)
        .exclusive_minimum(Some(-100)).exclusive_maximum(Some(0));
    /// A percent upward.
    Gain: number("A percent from 0 to 100000.", r"0|[1-9][0-9]{0,4}|100000", true)
        .minimum(Some(0)).maximum(Some(100_000));
    /// A percent of a price.
    Distance: number("A percent above 0 and below 100.", r"[1-9][0-9]?", false)
        .exclusive_minimum(Some(0)).exclusive_maximum(Some(100));
    /// A factor.
    Scale: number("A factor above 0 and at most 100.", r"[1-9][0-9]?", false)
        .exclusive_minimum(Some(0)).maximum(Some(100));
}

/// A number of at most eight decimals, or a string that holds it: `whole` is the pattern of what stands before the point
/// where that is not 0.
fn number(description: &str, whole: &str, may_be_zero: bool) -> ObjectBuilder {
    let sign = if whole.starts_with('-') { "-" } else { "" };
    // One to eight decimals that are not all 0, by where the first other one stands.
    let decimals = (0..8).map(|zeros| format!("{}[1-9][0-9]{{0,{}}}", "0".repeat(zeros), 7 - zeros));
    let below_one = if may_be_zero {
        String::new()
    } else {
        format!(r"|{sign}0\.({})", decimals.collect::<Vec<_>>().join("|"))
    };
    let description =
        format!("{description} At most eight decimals; a string that holds it is taken as well.");
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Number, Type::String]))
        .description(Some(description))
        .pattern(Some(format!(r"^(({whole})(\.[0-9]{{1,8}})?{below_one})$")))
}

fn whole(description: &str, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Integer, Type::String]))
        .description(Some(description))
        .pattern(Some(pattern))
}
