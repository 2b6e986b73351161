//! The nine events as the document's webhooks, each with an example.

use model::{
    BotFailed, BotTurned, EventId, EventKind, PayoutProcessed, SubscriptionChanged, Timestamp, TradeClosed,
    TradeOpened, TradeStoploss, TradeUpdated,
};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{
    ContentBuilder, PathItem, Paths, PathsBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};

use super::operation::Schemas;

/// One event: what it means, the schema of its data, and an example of that.
struct Event {
    kind: EventKind,
    means: &'static str,
    data: (String, RefOr<Schema>),
    example: Value,
}

const BOT: &str = "bot_019d486c2f4a7c3b8d5e6f708192a3b4";
const TRADE: &str = "trade_019d486c30117e229c4d5b6a79881726";

fn all() -> [Event; 9] {
    EventKind::ALL.map(|kind| {
        let (means, data, example) = match kind {
            EventKind::BotStarted => (
                "A bot began to run",
                named::<BotTurned>(),
                json!({"bot_id": BOT, "name": "BTC DCA Bot", "reason": "user", "message": "BTC DCA Bot started"}),
            ),
            EventKind::BotStopped => (
                "A bot stopped",
                named::<BotTurned>(),
                json!({"bot_id": BOT, "name": "BTC DCA Bot", "reason": "user", "message": "BTC DCA Bot stopped"}),
            ),
            EventKind::TradeOpened => (
                "A trade's base order filled",
                named::<TradeOpened>(),
                json!({"bot_id": BOT, "trade_id": TRADE, "pair": "BTC/USDT", "side": "buy", "price": 61837.63,
                    "amount": 0.00081, "stake": 50.138_568_78, "opened_at": "2026-04-01T12:00:05Z", "dry_run": true,
                    "message": "Bought 0.00081 BTC at 61837.63 USDT, for 50.13856878 USDT with the fee"}),
            ),
            EventKind::TradeUpdated => (
                "An open trade bought more or sold a part: a further entry, a partial exit, or funds added. It goes to \
                 endpoints that name it; `/v1/events` and `/v1/stream` always have it",
                named::<TradeUpdated>(),
                json!({"bot_id": BOT, "trade_id": TRADE, "pair": "BTC/USDT", "side": "buy", "kind": "entry", "index": 1,
                    "price": 60662.71, "amount": 0.00083, "entry_price": 61304.02, "stop_price": 55173.61,
                    "take_profit_price": 62592.69, "updated_at": "2026-04-01T13:10:42Z", "dry_run": true,
                    "message": "Safety order 1 bought 0.00083 BTC at 60662.71 USDT; the average is now 61304.02 USDT"}),
            ),
            EventKind::TradeClosed => (
                "A trade is flat again",
                named::<TradeClosed>(),
                json!({"bot_id": BOT, "trade_id": TRADE, "pair": "BTC/USDT", "side": "sell", "profit": 12.50,
                    "profit_pct": 2.4, "profit_usd": 12.50, "usd_rate": 1, "exit_reason": "take_profit", "entry_price": 61899.46,
                    "exit_price": 63447.04, "amount": 0.0082, "opened_at": "2026-04-01T12:00:05Z",
                    "closed_at": "2026-04-01T14:30:00Z", "dry_run": true,
                    "message": "Sold 0.0082 BTC at 63447.04 USDT at its take profit: a profit of 12.50 USDT (2.4 %)"}),
            ),
            EventKind::TradeStoploss => (
                "A trade's stop was hit; its `trade.closed` follows when it is flat",
                named::<TradeStoploss>(),
                json!({"bot_id": BOT, "trade_id": TRADE, "pair": "BTC/USDT", "side": "sell", "stop_price": 55709.51,
                    "price": 55702.1, "dry_run": true,
                    "message": "The stop at 55709.51 USDT was reached at 55702.1 USDT"}),
            ),
            EventKind::BotError => (
                "Something keeps a bot from what it is to do, or does not any more (`resolved`). Each cause is reported once \
                 while it lasts; a bot that cannot go on by itself also has the status `error`",
                named::<BotFailed>(),
                json!({"bot_id": BOT, "code": "insufficient_balance",
                    "message": "the account holds 12.4 USDT of the 50 that the order needs", "resolved": false}),
            ),
            EventKind::SubscriptionChanged => (
                "An account's plan, or its state, changed",
                named::<SubscriptionChanged>(),
                json!({"plan": "pro", "status": "active",
                    "limits": {"requests_per_minute": 300, "bots": 10_000, "webhooks": 1_000},
                    "period": {"start": "2026-04-01T00:00:00Z", "end": "2026-05-01T00:00:00Z"},
                    "cancel_at_period_end": false,
                    "previous": {"plan": "standard", "status": "active",
                        "limits": {"requests_per_minute": 100, "bots": 1_000, "webhooks": 250},
                        "period": {"start": null, "end": null}, "cancel_at_period_end": false},
                    "message": "The plan is pro now; it was standard"}),
            ),
            EventKind::PayoutProcessed => (
                "A payout reached its end",
                named::<PayoutProcessed>(),
                json!({"payout_id": "po_019d486c2f4a7c3b8d5e6f708192a3b4", "kind": "affiliate", "status": "paid",
                    "amount": 123.5, "gross": 125, "fees": 1.5, "net": 123.5, "currency": "USD",
                    "period": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
                    "processed_at": "2026-04-01T14:30:00Z",
                    "message": "Payout of 123.5 USD: paid"}),
            ),
        };
        Event { kind, means, data, example }
    })
}

fn named<T: ToSchema>() -> (String, RefOr<Schema>) {
    (T::name().into_owned(), T::schema())
}

/// The schemas of the events and of what they hold.
pub(super) fn schemas() -> Schemas {
    let mut schemas: Schemas = all().into_iter().map(|event| event.data).collect();
    EventId::schemas(&mut schemas);
    schemas.extend([named::<EventId>(), named::<Timestamp>()]);
    BotTurned::schemas(&mut schemas);
    TradeOpened::schemas(&mut schemas);
    TradeUpdated::schemas(&mut schemas);
    TradeClosed::schemas(&mut schemas);
    TradeStoploss::schemas(&mut schemas);
    BotFailed::schemas(&mut schemas);
    SubscriptionChanged::schemas(&mut schemas);
    PayoutProcessed::schemas(&mut schemas);
    schemas
}

/// What we send, by the event's name.
pub(super) fn webhooks() -> Paths {
    all()
        .iter()
        .fold(PathsBuilder::new(), |paths, event| paths.path(event.kind.as_str(), delivery(event)))
        .build()
}

fn delivery(event: &Event) -> PathItem {
    let name = event.kind.as_str();
    let body = ObjectBuilder::new()
        .property("id", Ref::from_schema_name("EventId"))
        .property("event", ObjectBuilder::new().schema_type(Type::String).enum_values(Some([name])))
        .property("timestamp", Ref::from_schema_name("Timestamp"))
        .property(
            "sequence",
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).description(Some(
                "Its place among its bot's events, or, about no bot, its account's: without gaps, those that an endpoint \
                 has not subscribed to counted.",
            )),
        )
        .property("data", Ref::from_schema_name(&event.data.0))
        .required("id")
        .required("event")
        .required("timestamp")
        .required("sequence")
        .required("data");
    let example = json!({"id": "evt_019d486c34557a018b7c6d5e4f302112", "event": name,
        "timestamp": "2026-04-01T14:30:00Z", "sequence": 3, "data": event.example});
    let content = ContentBuilder::new().schema(Some(body.build())).example(Some(example)).build();
    let answer = ResponseBuilder::new().description(
        "Any 2xx within 10 seconds: delivered. Anything else is tried again (5 s, 5 min, 30 min, 2 h … 24 h); 410 disables the \
         endpoint.",
    );
    let operation = OperationBuilder::new()
        .tag("Webhooks")
        .summary(Some(format!("{name}: {}", event.means)))
        .parameter(signed("webhook-id", "The event's id; the same in every delivery of it."))
        .parameter(signed("webhook-timestamp", "When it was sent, in whole seconds since 1970."))
        .parameter(signed(
            "webhook-signature",
            "`v1,` and the base64 of the HMAC-SHA256, after Standard Webhooks; two of them, with a space between, for a day \
             after the secret was rotated.",
        ))
        .request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", content)
                .required(Some(Required::True))
                .build(),
        ))
        .response("2XX", answer.build());
    PathItem::from_http_methods([HttpMethod::Post], operation.build())
}

fn signed(name: &str, description: &str) -> ParameterBuilder {
    let schema = ObjectBuilder::new().schema_type(Type::String).build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
}
