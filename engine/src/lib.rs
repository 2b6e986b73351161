//! The engine: markets that wake bots, bots that trade on paper, the ledger that makes it durable, and the sinks
//! that tell of it.
//!
//! Everything outside reaches it through one [`EngineHandle`]; the actors behind it stay here.

mod actors;
mod answer;
mod billing;
mod bot_list;
mod by_hand;
mod candles;
mod change;
mod cidr;
mod clock;
mod commissions;
mod doctor;
mod error;
mod exchanges;
mod failpoint;
mod fair;
mod handle;
mod health;
mod key;
mod lag;
mod ledger;
mod live;
mod lives;
mod many;
mod market_list;
mod markets;
mod master_key;
mod meters;
mod portfolio;
mod preview;
pub mod probe;
mod profits;
mod rates;
mod record;
mod reservations;
mod secrets;
mod signals;
mod silence;
mod standing;
mod start;
mod stats;
mod store;
mod stream;
mod suspension;
mod sweep;
mod trailing;
mod view;
mod views;
mod watch_index;
mod webhook;

pub use answer::{Answer, Asked, Kept, KeptAnswer};
pub use billing::{
    AccountView, BillingChange, Outcome, SignatureError, StripeConfig, change_subscription, link_stripe,
    note_payout,
};
pub use bot_list::{BotSort, SortedBots};
pub use by_hand::{By, Then};
pub use candles::{CandleQuery, CandleStep, ShownCandle};
pub use change::{
    Apply, BotChange, BotStatus, BotTrouble, Change, NewBot, Positions, Redefined, Redefinition, StatusError,
};
pub use cidr::{Cidr, CidrError};
pub use commissions::GOOD_FOR as FEE_RATES_GOOD_FOR;
pub use doctor::{Finding, examine};
pub use error::EngineError;
pub use exchanges::{NewExchange, StoredExchange};
pub use fair::{FairPermit, FairSemaphore};
pub use handle::EngineHandle;
pub use key::{SCOPES, key_hash, key_hint, new_key};
pub use ledger::{Durable, Ledger, LedgerError};
pub use live::Intent;
pub use many::{Selection, Turn, Turned};
pub use market_list::{MarketStatus, ShownMarket};
pub use master_key::{
    RotateError, Rotation, SecretCount, check_master_key, master_key_name, rotate_master_key,
};
pub use meters::Meters;
pub use portfolio::{
    Balance, BotShare, Connection, Currency, Figures, HistoryPoint, Interval, Portfolio, Side, UsdRate,
};
pub use profits::{ProfitFilter, Profits, ProfitsBy};
pub use record::{BotState, Decision, LateBooking, Recorder, StateError};
pub use secrets::{ApiCredential, MasterKey, MasterKeyError, Secret};
pub use signals::{Action, ActionError, Hook, NewHook, NewSignal, Signal, SignalStatus};
pub use silence::Patience;
pub use start::{Engine, EngineConfig, Failure, StartError};
pub use stats::{BotStats, NoRatio, Ratios};
pub use store::{
    Account, AccountDeletion, ApiKey, Attempt, Backup, Billing, BotFilter, Cursor, Delivery, DeliveryFilter,
    DeliveryStatus, EventFilter, ExchangeConnection, Forgotten, KeyGrant, KeyPermissions, News, Origin, Page,
    Progress, Store, StoreError, StoredBot, StoredEvent, TradeFilter, Webhook, database_file,
    shown_database_url,
};
pub use strategies::{
    AddedFunds, BotBody, BotDefinition, BotPatch, Funds, Preview, PreviewedBot, PreviewedEntry, Strategy,
    StrategyDefinition,
};
pub use stream::{BotTurn, EventStream, Told};
pub use view::BotView;
pub use watch_index::{Newest, RecentPrices, Slot, Wake, WatchIndex};
pub use webhook::{CONCURRENCY, NewWebhook, WEBHOOK_PORTS, WebhookPatch};
