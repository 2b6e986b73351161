//! The words everybody speaks: exact money, pairs, orders, trades, events and watches.
//!
//! No I/O, no clock, no async. Every other room depends on this one, and this one on none.
//!
//! ```
//! use model::{Price, Qty};
//!
//! let price: Price = "61837.63".parse()?;
//! let qty: Qty = "0.00081".parse()?;
//! assert_eq!((price * qty).to_string(), "50.0884803");
//! # Ok::<(), model::NumberError>(())
//! ```

mod event;
mod fault;
mod ids;
mod market;
mod money;
pub mod number;
mod order;
mod origin;
mod pair;
mod payout;
mod plan;
mod schema;
mod standing;
mod time;
mod trade;
mod watch;

pub use event::{
    BotFailed, BotTurned, DomainEvent, EventData, EventKind, PayoutProcessed, SubscriptionChanged,
    TradeClosed, TradeOpened, TradeStoploss, TradeUpdate, TradeUpdated,
};
pub use fault::{Fault, Faults, Warning};
pub use ids::{
    AccountId, BotId, ClientOrderId, DeliveryId, EventId, ExchangeId, FillId, HookId, IdError, KeyId,
    OrderId, PayoutId, RequestId, SignalId, TradeId, WebhookId,
};
pub use market::{Market, OrderBounds, Tick};
pub use money::{Pct, Price, Qty, Quote, Rate};
pub use number::NumberError;
pub use order::{Fill, Order, OrderKind, OrderStatus, OrderType, Receipt, Side};
pub use origin::OrderOrigin;
pub use pair::{Exchange, Pair, PairError};
pub use payout::{Payout, PayoutStatus, PayoutStatusError};
pub use plan::{
    Period, PlanLimits, Plans, Subscription, SubscriptionStatus, SubscriptionStatusError, Tier, TierError,
};
pub use schema::Number;
pub use standing::{LadderStatus, LadderStep, Standing, Wait, WaitKind};
pub use time::{Interval, Timestamp, TimestampError};
pub use trade::{ExitReason, FeeRates, FeeSource, Trade, TradeStatus};
pub use watch::{Mark, PriceMove, Trail, Watch};
