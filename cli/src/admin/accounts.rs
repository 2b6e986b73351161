//! Accounts: made, listed, linked to Stripe, suspended, let go on, deleted.

use std::io::{BufRead as _, Write as _};

use anyhow::bail;
use engine::{Account, AccountDeletion, Store};
use model::{AccountId, Plans};
use serde_json::{Value, json};

use super::{billing, now};
use crate::args::AccountCommand;
use crate::output::{self, Format};

/// Does what it is told and prints what came of it.
///
/// # Errors
/// When the store cannot be used, or there is no such account.
pub(super) async fn run(
    store: &Store,
    plans: &Plans,
    format: Format,
    asked: &AccountCommand,
) -> anyhow::Result<()> {
    match asked {
        AccountCommand::Create { name } => {
            let account = store.create_account(name, now()).await?;
            output::object(format, &shown(&account));
            Ok(())
        }
        AccountCommand::List => {
            let rows: Vec<Value> = store.accounts().await?.iter().map(shown).collect();
            output::list(format, &["id", "name", "plan", "status", "created_at"], &rows);
            Ok(())
        }
        AccountCommand::LinkStripe(wanted) => {
            output::object(format, &billing::link(store, plans, wanted).await?);
            Ok(())
        }
        AccountCommand::Suspend { account } => suspend(store, *account, format, true).await,
        AccountCommand::Resume { account } => suspend(store, *account, format, false).await,
        AccountCommand::Delete { account, yes } => delete(store, *account, format, *yes).await,
    }
}

fn shown(account: &Account) -> Value {
    let status = if account.suspended_at.is_some() { "suspended" } else { "active" };
    json!({"id": account.id, "name": account.name, "plan": account.plan, "status": status,
        "created_at": account.created_at, "suspended_at": account.suspended_at})
}

/// Suspends an account, or lets it go on.
///
/// # Errors
/// Without such an account.
async fn suspend(store: &Store, id: AccountId, format: Format, is_suspended: bool) -> anyhow::Result<()> {
    if !store.suspend_account(id, is_suspended.then(now)).await? {
        return Err(unknown(id));
    }
    let status = if is_suspended { "suspended" } else { "active" };
    output::object(format, &json!({"id": id, "status": status}));
    if is_suspended {
        eprintln!("a running server stops its bots within seconds; stops that rest at a venue stand");
    } else {
        eprintln!("its bots stay stopped until they are started");
    }
    Ok(())
}

/// Deletes an account, once whoever asks is sure.
///
/// # Errors
/// Without such an account, where it has bots, and where the answer is not `yes`.
async fn delete(store: &Store, id: AccountId, format: Format, is_sure: bool) -> anyhow::Result<()> {
    let Some(account) = store.accounts().await?.into_iter().find(|account| account.id == id) else {
        return Err(unknown(id));
    };
    if !is_sure {
        eprint!(
            "Delete account {id} ({})? Its keys, exchange connections and webhooks are erased for good; its trades stay.\n\
             Type yes to delete it: ",
            account.name
        );
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if answer.trim() != "yes" {
            bail!("nothing was deleted: the answer was not yes (--yes does not ask)");
        }
    }
    match store.delete_account(id, now()).await? {
        AccountDeletion::Deleted => {
            output::object(format, &json!({"id": id, "status": "deleted"}));
            Ok(())
        }
        AccountDeletion::HasBots(bots) => {
            bail!("the account {id} has {bots} bots: close their trades and delete them first")
        }
        AccountDeletion::NotFound => Err(unknown(id)),
    }
}

fn unknown(id: AccountId) -> anyhow::Error {
    anyhow::anyhow!("there is no account {id}: see `botprimex admin account list`")
}
