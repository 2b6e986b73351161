//! `botprimex admin`: accounts and keys, straight in the store, beside a running server or without one.

mod accounts;
mod billing;
mod doctor;
pub(crate) mod keys;
mod master_key;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use engine::{Forgotten, Store, StoredBot};
use model::{Plans, Timestamp};
use serde_json::{Value, json};

use self::billing::ShownPayout;
use crate::args::{
    AdminArgs, AdminCommand, BotCommand, ExchangeCommand, KeyCommand, PayoutCommand, SubscriptionCommand,
};
use crate::config::Config;
use crate::output::{self, Format};

/// Does what it is told and prints what came of it.
///
/// # Errors
/// When the store cannot be used, or names nothing like what was asked for.
pub(crate) fn run(args: &AdminArgs, config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let AdminCommand::MasterKey(asked) = &args.what {
            return master_key::run(config, args.format, asked).await;
        }
        if let AdminCommand::Doctor = &args.what {
            return doctor::run(&config, args).await;
        }
        let store = Store::open_existing(&config.database_url).await?;
        let key = engine::master_key_name(&config.database_url, config.master_key.is_some());
        let done = command(&store, &config.api.plans(), &key, args).await;
        store.close().await;
        done
    })
}

async fn command(store: &Store, plans: &Plans, key: &str, args: &AdminArgs) -> anyhow::Result<()> {
    match &args.what {
        AdminCommand::Account(asked) => accounts::run(store, plans, args.format, asked).await?,
        AdminCommand::Subscription(SubscriptionCommand::Set(wanted)) => {
            output::object(args.format, &billing::subscribe(store, plans, wanted).await?);
        }
        AdminCommand::Subscription(SubscriptionCommand::Show { account }) => {
            output::object(args.format, &billing::show(store, plans, *account).await?);
        }
        AdminCommand::Payout(PayoutCommand::Create(wanted)) => {
            let paid = billing::pay(store, wanted).await?;
            match args.format {
                Format::Json => output::json(&paid)?,
                Format::Table => output::object(args.format, &paid.row()),
            }
        }
        AdminCommand::Payout(PayoutCommand::List { account }) => {
            let payouts = store.payouts(*account).await?;
            let payouts: Vec<ShownPayout> = payouts.iter().map(ShownPayout::from).collect();
            match args.format {
                Format::Json => output::json(&payouts)?,
                Format::Table => {
                    let rows: Vec<Value> = payouts.iter().map(ShownPayout::row).collect();
                    let columns = [
                        "id",
                        "account_id",
                        "kind",
                        "status",
                        "gross",
                        "fees",
                        "net",
                        "currency",
                        "processed_at",
                    ];
                    output::list(args.format, &columns, &rows);
                }
            }
        }
        AdminCommand::Key(KeyCommand::Create { account, name, scopes, expires, allow_ip }) => {
            let made = keys::create(store, *account, name, scopes, *expires, allow_ip).await?;
            output::object(args.format, &keys::shown_once(&made));
        }
        AdminCommand::Key(KeyCommand::Rotate { id, overlap }) => {
            output::object(args.format, &keys::rotate(store, *id, *overlap).await?);
        }
        AdminCommand::Key(KeyCommand::List { account }) => {
            let rows: Vec<Value> = store.keys(*account).await?.iter().map(keys::shown).collect();
            let columns = [
                "id",
                "account_id",
                "name",
                "hint",
                "scopes",
                "allow_ips",
                "created_at",
                "expires_at",
                "revoked_at",
                "last_used_at",
            ];
            output::list(args.format, &columns, &rows);
        }
        AdminCommand::Key(KeyCommand::Revoke { id }) => {
            if !store.revoke_key(*id, now()).await? {
                bail!("there is no key {id}");
            }
            output::object(args.format, &json!({"id": id, "status": "revoked"}));
        }
        AdminCommand::Bot(BotCommand::List { account }) => {
            let rows: Vec<Value> = store.all_bots(*account).await?.iter().map(shown_bot).collect();
            let columns = ["id", "account_id", "name", "pair", "strategy", "mode", "status"];
            output::list(args.format, &columns, &rows);
        }
        AdminCommand::Backup { to } => {
            let made = store.back_up(to, now()).await?;
            output::object(
                args.format,
                &json!({"file": made.file, "bytes": made.bytes, "taken_at": made.taken_at, "key": key}),
            );
        }
        AdminCommand::Exchange(ExchangeCommand::Forget { all: _ }) => {
            let Forgotten { exchanges, webhooks, hooks } = store.forget_secrets(now()).await?;
            output::object(
                args.format,
                &json!({"forgotten": exchanges, "webhooks": webhooks, "hooks": hooks}),
            );
        }
        // They open the store by themselves, or not at all.
        AdminCommand::MasterKey(_) | AdminCommand::Doctor => {}
    }
    Ok(())
}

fn shown_bot(bot: &StoredBot) -> Value {
    let definition = &bot.definition;
    let mode = if definition.dry_run { "dry" } else { "live" };
    json!({"id": bot.id, "account_id": bot.account_id, "name": definition.name, "pair": definition.pair,
        "strategy": definition.strategy.as_str(), "dry_run": definition.dry_run, "mode": mode, "status": bot.status,
        "created_at": bot.created_at})
}

/// The wall clock, to the second.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_secs()).unwrap_or_default().saturating_mul(1_000))
}
