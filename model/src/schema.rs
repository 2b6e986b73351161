//! What the words look like in an OpenAPI document: the schema of each type whose JSON is a text or a number of its
//! own. Those of structs and enums are derived where they stand.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::{
    AccountId, BotId, ClientOrderId, DeliveryId, EventId, ExchangeId, FillId, HookId, KeyId, OrderId, Pair,
    PayoutId, Pct, Price, Qty, Quote, RequestId, SignalId, Timestamp, TradeId, WebhookId,
};

/// An exact decimal that has no name of its own: the schema of fields written by [`crate::number`].
#[derive(Clone, Copy, Debug)]
pub struct Number;

macro_rules! schema {
    ($($name:ident: $schema:expr;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

schema! {
    Number: decimal("An exact decimal: read it as text or as a decimal, not as a binary float.", "1.5");
    Price: decimal("A price in the pair's quote coin, exact to eight decimals.", "61837.63").exclusive_minimum(Some(0));
    Qty: decimal("A quantity of the pair's base coin, exact.", "0.00081").minimum(Some(0));
    Quote: decimal("An amount of the pair's quote coin, exact; negative where it is a loss.", "12.5");
    Pct: decimal("A percentage: -10 is ten percent down.", "2.4");
    Pair: text("A base coin priced in a quote coin.", "^[A-Z0-9]{1,20}/[A-Z0-9]{1,20}$", "BTC/USDT");
    Timestamp: ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(utoipa::openapi::SchemaFormat::Custom("date-time".to_owned())))
        // What nanoseconds in 64 bits hold.
        .pattern(Some("^(1[7-9]|2[01])[0-9]{2}-"))
        .description(Some("A moment in UTC, RFC 3339 ending in `Z`."))
        .examples(["2026-04-01T12:00:00Z"]);
    BotId: id("The id of a bot.", BotId::PREFIX);
    TradeId: id("The id of a trade.", TradeId::PREFIX);
    OrderId: id("The id of an order.", OrderId::PREFIX);
    FillId: id("The id of one execution of an order.", FillId::PREFIX);
    ExchangeId: id("The id of a stored exchange connection.", ExchangeId::PREFIX);
    WebhookId: id("The id of a webhook endpoint.", WebhookId::PREFIX);
    EventId: id("The id of an event, the same in every delivery of it.", EventId::PREFIX);
    DeliveryId: id("The id of a delivery of an event to an endpoint.", DeliveryId::PREFIX);
    HookId: id("The id of a bot's inbound hook; not its token.", HookId::PREFIX);
    SignalId: id("The id of what an inbound hook was sent.", SignalId::PREFIX);
    PayoutId: id("The id of a payout.", PayoutId::PREFIX);
    KeyId: id("The public name of an API key; not the key.", KeyId::PREFIX);
    AccountId: id("The id of an account.", AccountId::PREFIX);
    RequestId: id("The id of one HTTP request.", RequestId::PREFIX);
    ClientOrderId: id("What we call an order at its venue.", ClientOrderId::PREFIX);
}

fn decimal(description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .description(Some(description))
        .examples(serde_json::from_str::<serde_json::Value>(example).ok())
}

fn text(description: &str, pattern: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .examples([example])
}

/// An id's prefix and 32 hexadecimal digits that sort by creation.
fn id(description: &str, prefix: &str) -> ObjectBuilder {
    let example = format!("{prefix}019d486c2f4a7c3b8d5e6f708192a3b4");
    text(description, &format!("^{prefix}[0-9a-f]{{32}}$"), &example)
}
