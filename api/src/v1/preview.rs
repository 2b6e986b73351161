//! `/v1/bots/preview`: what a bot would do, before it is made.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{BotDefinition, EngineHandle, Preview, PreviewedBot, PreviewedEntry};
use model::{Exchange, Fault, Pair, Price, Qty, Quote, Warning};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;

use super::auth::Caller;
use crate::ApiError;
use crate::body::{self, Fields};

/// A ladder with its prices, levels and cost.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Preview)]
struct Shown<'a> {
    exchange: Exchange,
    pair: &'a Pair,
    #[schema(value_type = engine::Strategy)]
    strategy: &'static str,
    /// What the base order is taken to be decided at.
    price: Price,
    /// The base order first.
    entries: Vec<ShownEntry>,
    /// What the whole ladder spends, in quote, fees included.
    funds_needed: Quote,
    /// The most that a stop would lose if it sold at its own price, in quote.
    worst_case_loss: Quote,
    warnings: &'a [Warning],
}

/// One entry, and the trade as it would stand after it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PreviewedEntry)]
struct ShownEntry {
    /// 0 for the base order, then the safety orders.
    entry: u32,
    /// The price that it waits for.
    trigger_price: Price,
    /// What it is filled at, slippage included.
    price: Price,
    /// How much it buys, in base.
    qty: Qty,
    /// What it spends, in quote, its fee included.
    stake: Quote,
    fee: Quote,
    /// Whether the market gets there before the stop.
    reached: bool,
    /// Bought and spent in all, this entry included.
    total_qty: Qty,
    total_stake: Quote,
    /// The average cost price, fees included, to eight decimals.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    average_price: Decimal,
    #[schema(required)]
    take_profit_price: Option<Price>,
    #[schema(required)]
    stop_price: Option<Price>,
    /// What selling all at the take-profit price would make, in quote.
    #[schema(required)]
    profit_at_take_profit: Option<Quote>,
    /// What selling all at the stop would lose, in quote.
    loss_at_stop: Quote,
}

impl From<&PreviewedEntry> for ShownEntry {
    fn from(previewed: &PreviewedEntry) -> Self {
        let entry = &previewed.entry;
        Self {
            entry: entry.index,
            trigger_price: entry.decided,
            price: entry.price,
            qty: entry.qty,
            stake: entry.price * entry.qty + entry.fee,
            fee: entry.fee,
            reached: previewed.is_reached,
            total_qty: previewed.amount,
            total_stake: previewed.stake,
            average_price: previewed.average.round_dp(8).normalize(),
            take_profit_price: previewed.take_profit,
            stop_price: previewed.stop,
            profit_at_take_profit: previewed.profit_at_take_profit,
            loss_at_stop: previewed.loss_at_stop,
        }
    }
}

/// Preview a bot
///
/// The ladder that it would trade, without making it: prices, quantities, stakes, averages, the take-profit and the stop
/// after each entry, the funds it needs, the worst loss, and what is worth a thought.
#[utoipa::path(post, path = "/v1/bots/preview", tag = "Bots", security(("api_key" = ["bots:read"])),
    request_body = PreviewedBot,
    responses((status = 200, description = "The ladder.", body = Shown)))]
pub(crate) async fn preview(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (definition, price) = parsed(body::object(&request, payload).await?)?;
    let (preview, price) = engine.preview_bot(caller.account, &definition, price).await?;
    Ok(HttpResponse::Ok().json(shown(&definition, price, &preview)))
}

/// The body of `POST /bots`, with a price or without.
fn parsed(mut fields: Fields) -> Result<(BotDefinition, Option<Price>), ApiError> {
    let price = fields.remove("price").filter(|raw| raw.get() != "null");
    let refused = |raw: &RawValue| Fault {
        param: "price".to_owned(),
        code: "parameter_invalid",
        message: format!(
            "{} is not a price above 0 with at most 8 decimals",
            raw.get().chars().take(60).collect::<String>()
        ),
    };
    let price = price.map(|raw| body::number(raw.get()).ok_or_else(|| refused(&raw))).transpose();
    match (BotDefinition::parse(&fields), price) {
        (Ok(definition), Ok(price)) => Ok((definition, price)),
        (definition, price) => {
            let others = definition.err().map_or_else(Vec::new, |faults| faults.0);
            Err(ApiError::Invalid(others.into_iter().chain(price.err()).collect()))
        }
    }
}

fn shown<'a>(definition: &'a BotDefinition, price: Price, preview: &'a Preview) -> Shown<'a> {
    Shown {
        exchange: definition.exchange,
        pair: &definition.pair,
        strategy: definition.strategy.as_str(),
        price,
        entries: preview.entries.iter().map(ShownEntry::from).collect(),
        funds_needed: preview.funds_needed(),
        worst_case_loss: preview.worst_loss(),
        warnings: &preview.warnings,
    }
}
