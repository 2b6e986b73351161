//! Trading: orders, what becomes of them, the account behind a key, and how much may be asked.
//!
//! [`OrderRequest::body`] is the text to keep before an order leaves; [`TradeRest::place`] and
//! [`TradeStream::place`] send exactly it. Neither ever sends anything twice: where the outcome is
//! [`Unknown`](super::rest::VenueError::Unknown), ask for the order by its client id.

mod answers;
mod call;
mod commission;
mod frame;
mod report;
mod request;
mod rest;
mod rows;
mod stream;

pub use self::answers::{read_account, read_executions, read_order, read_orders, read_restrictions};
pub use self::call::Call;
pub use self::commission::{Commission, read_commission};
pub use self::frame::{Answer, FrameError, SocketFrame, read_frame};
pub use self::report::{
    Account, Balance, Execution, OrderReport, Restrictions, UserFrame, UserReport, VenueStatus,
};
pub use self::request::{OrderRequest, RequestKind, TimeInForce};
pub use self::rest::{ExecutionsFrom, OrdersFrom, PAGE, RECV_WINDOW, TradeRest};
pub use self::stream::{AskId, TradeCounters, TradeEvent, TradeStream, TradeStreamConfig};
pub use super::budget::{AccountTag, Budget, Cost, Lane, Limits, SharedBudget, Usage, Wait};
pub use super::filters::{Factors, FilterFault, Filters, Grid, OpenOrders, Relation};
pub use super::sign::{Credential, SecretError, Signer};
