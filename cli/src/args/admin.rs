//! What `admin` is asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use engine::Cidr;
use model::{AccountId, KeyId, PayoutStatus, Quote, SubscriptionStatus, Tier, Timestamp};

use super::ConfigArgs;
use super::values::{Span, Until};
use crate::output::Format;

/// What `admin` is asked.
#[derive(Args, Debug)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How answers are printed.
    #[arg(long, value_enum, default_value = "table", global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) what: AdminCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminCommand {
    /// Copy the database, consistent while a server runs.
    Backup {
        /// Write the copy to FILE, which must not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Who owns bots and keys.
    #[command(subcommand)]
    Account(AccountCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// What accounts pay for.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// What accounts are paid.
    #[command(subcommand)]
    Payout(PayoutCommand),
    /// Bots.
    #[command(subcommand)]
    Bot(BotCommand),
    /// Stored exchange connections.
    #[command(subcommand)]
    Exchange(ExchangeCommand),
    /// The key that stored secrets are sealed with.
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
    /// Checks the configuration, the database, the master key, the clock, the venue, the egress addresses and the disk: a
    /// line each; exit 1 if something is wrong.
    Doctor,
}

#[derive(Subcommand, Debug)]
pub(crate) enum MasterKeyCommand {
    /// Seals everything that is stored with another key, and puts that in force. Stop the server before; run it again
    /// where it was cut short.
    Rotate {
        /// Where the new key is, or is made [default: made beside the key's own file, whose place it takes]
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
    },
    /// Opens everything that is stored, and tells whether the key that is there does: of a backup as well.
    Check,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ExchangeCommand {
    /// Erases what is sealed with a master key that is lost for good: stored connections, which their owners store anew,
    /// and the secrets of webhooks, which their owners rotate and enable. Bots with an open trade go on once a key of the
    /// same account at the venue is stored and they are started.
    Forget {
        /// Everybody's, for all are sealed with one key.
        #[arg(long, required = true)]
        all: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AccountCommand {
    /// Makes an account.
    Create {
        /// What it is called.
        #[arg(long)]
        name: String,
    },
    /// Lists all accounts.
    List,
    /// Stops an account's bots, which keep what they hold; its keys may read, stop bots and close trades until it is
    /// resumed. A stop that rests at a venue stands.
    Suspend {
        /// Which account.
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
    /// Lets a suspended account go on; its owner starts its bots again.
    Resume {
        /// Which account.
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
    /// Deletes an account that has no bots, after asking: its keys, connections and endpoints are gone, its trades stay.
    Delete {
        /// Which account.
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Says who an account is at Stripe, whose webhooks then set its plan and tell of its payouts.
    LinkStripe(LinkArgs),
}

/// Who an account is at Stripe.
#[derive(Args, Debug)]
pub(crate) struct LinkArgs {
    /// Which account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: AccountId,
    /// The customer who pays, `cus_…`.
    #[arg(long, value_name = "CUS", required_unless_present = "connect")]
    pub(crate) customer: Option<String>,
    /// The connected account that is paid, `acct_…`.
    #[arg(long, value_name = "ACCT")]
    pub(crate) connect: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum SubscriptionCommand {
    /// Gives an account a plan. A smaller one stops nothing that runs.
    Set(SubscriptionArgs),
    /// Shows what an account may use.
    Show {
        /// Which account.
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
}

/// The plan that an account is given.
#[derive(Args, Debug)]
pub(crate) struct SubscriptionArgs {
    /// Which account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: AccountId,
    /// `standard`, `pro` or `enterprise`; in force while the status says so, or else `standard` is.
    #[arg(long)]
    pub(crate) plan: Tier,
    /// How it stands: active, `trialing`, `past_due`, `unpaid`, `paused`, `incomplete` or `canceled`.
    #[arg(long, default_value = "active")]
    pub(crate) status: SubscriptionStatus,
    /// When the period ends: a time such as 2026-05-01T00:00:00Z, or a span from now such as `30d`.
    #[arg(long, value_name = "TIME|SPAN")]
    pub(crate) period_end: Option<Until>,
    /// It ends with the period.
    #[arg(long)]
    pub(crate) cancel_at_period_end: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum PayoutCommand {
    /// Notes a payout that has ended, and tells its account of it.
    Create(PayoutArgs),
    /// Lists payouts.
    List {
        /// Whose [default: everybody's]
        #[arg(long, value_name = "ID")]
        account: Option<AccountId>,
    },
}

/// A payout.
#[derive(Args, Debug)]
pub(crate) struct PayoutArgs {
    /// To which account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: AccountId,
    /// How much, before fees.
    #[arg(long)]
    pub(crate) amount: Quote,
    /// In which currency or coin.
    #[arg(long)]
    pub(crate) currency: String,
    /// What it cost.
    #[arg(long, default_value = "0")]
    pub(crate) fees: Quote,
    /// For what, a word of your own.
    #[arg(long, default_value = "manual")]
    pub(crate) kind: String,
    /// How it ended: paid, failed or canceled.
    #[arg(long, default_value = "paid")]
    pub(crate) status: PayoutStatus,
    /// The beginning of the time that it is for.
    #[arg(long, value_name = "TIME")]
    pub(crate) period_start: Option<Timestamp>,
    /// The end of it.
    #[arg(long, value_name = "TIME")]
    pub(crate) period_end: Option<Timestamp>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum KeyCommand {
    /// Makes a key and prints it, this once.
    Create {
        /// Whose key.
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// What it is called.
        #[arg(long, default_value = "api key")]
        name: String,
        /// What it may do, e.g. `bots:read,trades:read` [default: everything]
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
        /// How long it is good, e.g. `90d`, `12h`.
        #[arg(long, value_name = "SPAN")]
        expires: Option<Span>,
        /// From where it may be used: an address or a network such as 203.0.113.0/24; may be given again [default:
        /// anywhere]
        #[arg(long, value_delimiter = ',', value_name = "NETWORK")]
        allow_ip: Vec<Cidr>,
    },
    /// Makes another key beside one and prints it, this once; the one before is good for a while more.
    Rotate {
        /// The key's id, `key_…`.
        id: KeyId,
        /// For how long, a week at most.
        #[arg(long, value_name = "SPAN", default_value = "24h")]
        overlap: Span,
    },
    /// Lists keys, without their secrets.
    List {
        /// Whose keys [default: everybody's]
        #[arg(long, value_name = "ID")]
        account: Option<AccountId>,
    },
    /// Makes a key useless from now on.
    Revoke {
        /// The key's id, `key_…`.
        id: KeyId,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum BotCommand {
    /// Lists bots.
    List {
        /// Whose bots [default: everybody's]
        #[arg(long, value_name = "ID")]
        account: Option<AccountId>,
    },
}
