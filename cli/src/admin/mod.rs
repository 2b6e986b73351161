//! `botprimex admin`: accounts and keys, straight in the store, beside a running server or without one.

mod billing;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use engine::{Account, ApiKey, SCOPES, Store, StoredBot, key_hash, new_key};
use model::{AccountId, KeyId, Plans, Timestamp};
use serde_json::{Value, json};

use crate::args::{
    AccountCommand, AdminArgs, AdminCommand, BotCommand, ExchangeCommand, KeyCommand, PayoutCommand, Span,
    SubscriptionCommand,
};
use crate::config::{Config, UsageError};
use crate::output;

/// Does what it is told and prints what came of it.
///
/// # Errors
/// When the store cannot be used, or names nothing like what was asked for.
pub(crate) fn run(args: &AdminArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&config.database_url).await?;
        let done = command(&store, &config.api.plans(), args).await;
        store.close().await;
        done
    })
}

async fn command(store: &Store, plans: &Plans, args: &AdminArgs) -> anyhow::Result<()> {
    match &args.what {
        AdminCommand::Account(AccountCommand::Create { name }) => {
            let account = store.create_account(name, now()).await?;
            output::object(args.format, &shown_account(&account));
        }
        AdminCommand::Account(AccountCommand::List) => {
            let rows: Vec<Value> = store.accounts().await?.iter().map(shown_account).collect();
            output::list(args.format, &["id", "name", "plan", "created_at"], &rows);
        }
        AdminCommand::Account(AccountCommand::LinkStripe(wanted)) => {
            output::object(args.format, &billing::link(store, plans, wanted).await?);
        }
        AdminCommand::Subscription(SubscriptionCommand::Set(wanted)) => {
            output::object(args.format, &billing::subscribe(store, plans, wanted).await?);
        }
        AdminCommand::Subscription(SubscriptionCommand::Show { account }) => {
            output::object(args.format, &billing::show(store, plans, *account).await?);
        }
        AdminCommand::Payout(PayoutCommand::Create(wanted)) => {
            output::object(args.format, &billing::pay(store, wanted).await?);
        }
        AdminCommand::Payout(PayoutCommand::List { account }) => {
            let rows: Vec<Value> = store.payouts(*account).await?.iter().map(billing::shown_payout).collect();
            let columns =
                ["id", "account_id", "kind", "status", "gross", "fees", "net", "currency", "processed_at"];
            output::list(args.format, &columns, &rows);
        }
        AdminCommand::Key(KeyCommand::Create { account, name, scopes, expires }) => {
            let (key, spelled) = create_key(store, *account, name, scopes, *expires).await?;
            let mut shown = shown_key(&key);
            if let Some(object) = shown.as_object_mut() {
                object.insert("key".to_owned(), json!(spelled));
            }
            output::object(args.format, &shown);
        }
        AdminCommand::Key(KeyCommand::List { account }) => {
            let rows: Vec<Value> = store.keys(*account).await?.iter().map(shown_key).collect();
            let columns = ["id", "account_id", "name", "scopes", "created_at", "expires_at", "revoked_at"];
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
        AdminCommand::Exchange(ExchangeCommand::Forget { all: _ }) => {
            let forgotten = store.forget_exchanges(now()).await?;
            output::object(args.format, &json!({"forgotten": forgotten}));
        }
    }
    Ok(())
}

/// Makes a key; what it is spelled like is known only here.
///
/// # Errors
/// For an unknown scope or account.
pub(crate) async fn create_key(
    store: &Store,
    account_id: AccountId,
    name: &str,
    scopes: &[String],
    expires: Option<Span>,
) -> anyhow::Result<(ApiKey, String)> {
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        let known = SCOPES.join(", ");
        return Err(UsageError::new(format!("`{unknown}` is no scope: choose from {known}")).into());
    }
    let (created_at, spelled) = (now(), new_key());
    let key = ApiKey {
        id: KeyId::new(),
        account_id,
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        created_at,
        expires_at: expires.map(|span| created_at.plus_seconds(span.seconds.unsigned_abs())),
        revoked_at: None,
    };
    let hash = key_hash(&spelled).unwrap_or_default();
    if !store.create_key(&key, hash).await? {
        bail!("there is no account {account_id}: make one with `botprimex admin account create`");
    }
    Ok((key, spelled))
}

fn shown_account(account: &Account) -> Value {
    json!({"id": account.id, "name": account.name, "plan": account.plan, "created_at": account.created_at})
}

fn shown_key(key: &ApiKey) -> Value {
    let scopes = if key.scopes.is_empty() { json!(["*"]) } else { json!(key.scopes) };
    json!({"id": key.id, "account_id": key.account_id, "name": key.name, "scopes": scopes,
        "created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at})
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
