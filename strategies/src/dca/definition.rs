//! What only a bot of this strategy has: the object `dca` of a definition (contract §3), parsed, shown and documented.

use model::{Fault, OrderKind, Pct, Quote};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::definition::reader::{
    Fields, Reader, above_zero_below_hundred, decimal, one_of, stake, typed, whole,
};
use crate::definition::schema::{Distance, Scale, Seconds, Stake};

/// What the `dca` object holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[schema(as = Dca)]
pub struct DcaDefinition {
    /// What the first safety order spends; `stake_amount` by default.
    pub safety_stake: Quote,
    /// How far under P₀ the first safety order lies, in percent; above 0.
    pub price_deviation: Pct,
    /// What each next distance is multiplied by; above 0.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    pub step_scale: Decimal,
    /// What each next stake is multiplied by; above 0.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    pub volume_scale: Decimal,
    /// How long it waits after a close, in seconds.
    pub cooldown_s: u64,
    /// How entries are worked.
    pub order_type: OrderKind,
}

impl DcaDefinition {
    /// A safety stake as large as the stake goes with it: whether it was given is not kept.
    pub(crate) fn following(&self, stake_amount: Quote) -> Option<&'static str> {
        (self.safety_stake == stake_amount).then_some(r#"{"dca":{"safety_stake":null}}"#)
    }

    /// The `dca` object, or its defaults; `None` once a fault was found.
    pub(crate) fn parse(
        fields: Option<&Fields>,
        stake_amount: Option<Quote>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let none = Fields::new();
        let mut body = Reader::new(fields.unwrap_or(&none), "dca.");
        let safety_stake = body.optional("safety_stake", stake);
        let price_deviation = body.optional("price_deviation", |raw| {
            let value = decimal(raw)?;
            above_zero_below_hundred(value)
        });
        let step_scale = body.optional("step_scale", scale);
        let volume_scale = body.optional("volume_scale", scale);
        let cooldown_s = body.optional("cooldown_s", |raw| whole(raw, 0, 315_360_000));
        let order_type = body.optional("order_type", |raw| {
            one_of(raw, &["market", "limit"])?;
            typed(raw, "market or limit")
        });
        faults.extend(body.finish());
        Some(Self {
            safety_stake: safety_stake.or(stake_amount)?,
            price_deviation: price_deviation.or_else(|| Pct::new(Decimal::TWO).ok())?,
            step_scale: step_scale.unwrap_or(Decimal::ONE),
            volume_scale: volume_scale.unwrap_or(Decimal::ONE),
            cooldown_s: u64::from(cooldown_s.unwrap_or(0)),
            order_type: order_type.unwrap_or_default(),
        })
    }
}

fn scale(raw: &RawValue) -> Result<Decimal, String> {
    let value = decimal(raw)?;
    let fits = value > Decimal::ZERO && value <= Decimal::ONE_HUNDRED;
    if fits { Ok(value) } else { Err("a factor above 0 and at most 100".to_owned()) }
}

/// What only the strategy `dca` has; what is left out has its default.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as the bot it belongs to")]
pub(crate) struct NewDca {
    /// The quote currency that the first safety order spends; `stake_amount` by default. One that is as large as
    /// `stake_amount` goes with it when a change of that does not name this.
    safety_stake: Option<Stake>,
    /// How far under the base order's cost price the first safety order lies, in percent; 2 by default.
    price_deviation: Option<Distance>,
    /// What each next distance is multiplied by; 1 by default.
    step_scale: Option<Scale>,
    /// What each next stake is multiplied by; 1 by default.
    volume_scale: Option<Scale>,
    /// How long it waits after a trade is closed before the next, in seconds; 0 by default.
    cooldown_s: Option<Seconds>,
    /// How entries are worked; `market` by default. A `limit` entry is a limit order at the price decided at: what is left
    /// of it is taken back after 30 seconds, and a step that bought nothing waits for its trigger again. What sells is
    /// always a market order. On paper and in backtests a `limit` entry fills like a market order.
    order_type: Option<OrderKind>,
}
