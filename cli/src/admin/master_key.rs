//! The master key: put another one in force, and see whether everything opens.

use anyhow::bail;
use engine::{RotateError, Rotation, SecretCount, Store, check_master_key, rotate_master_key};
use serde_json::{Value, json};

use crate::args::MasterKeyCommand;
use crate::config::{Config, UsageError};
use crate::output::{self, Format};

/// Does what it is told, and prints what came of it.
///
/// # Errors
/// Where the key is not the one that is needed, while a server has the store, and where something does not open.
pub(super) async fn run(config: Config, format: Format, asked: &MasterKeyCommand) -> anyhow::Result<()> {
    let Config { database_url, master_key, .. } = config;
    match asked {
        MasterKeyCommand::Rotate { new_key_file } => {
            let is_configured = master_key.is_some();
            let rotated = rotate_master_key(&database_url, master_key, new_key_file.clone()).await;
            let rotation = rotated.map_err(|error| match error {
                RotateError::NoFile => UsageError::new(error.to_string()).into(),
                other => anyhow::Error::from(other),
            })?;
            output::object(format, &shown_rotation(&rotation));
            eprintln!("{}", what_is_left(&rotation, is_configured));
            Ok(())
        }
        MasterKeyCommand::Check => {
            let store = Store::open_existing(&database_url).await?;
            let checked = check_master_key(&store, &database_url, master_key).await;
            store.close().await;
            let (version, secrets) = checked?;
            output::object(format, &shown(version, &secrets));
            if secrets.unreadable > 0 {
                bail!("{} stored secrets do not open: the log tells which", secrets.unreadable);
            }
            Ok(())
        }
    }
}

fn shown(version: i64, secrets: &SecretCount) -> Value {
    let SecretCount { exchanges, webhooks, hooks, answers, unreadable, unreadable_answers } = secrets;
    json!({"version": version, "exchanges": exchanges, "webhooks": webhooks, "hooks": hooks,
        "answers": answers,         "unreadable": unreadable, "unreadable_answers": unreadable_answers})
}

fn shown_rotation(rotation: &Rotation) -> Value {
    let mut shown = shown(rotation.version, &rotation.resealed);
    if let Some(object) = shown.as_object_mut() {
        object.insert("replaces".to_owned(), json!(rotation.from));
        object.insert("key_file".to_owned(), json!(rotation.key_file));
        object.insert("replaced_key_file".to_owned(), json!(rotation.old_key_file));
    }
    shown
}

/// What an operator still has to do.
fn what_is_left(rotation: &Rotation, is_configured: bool) -> String {
    let file = rotation.key_file.display();
    let set = if is_configured {
        format!(
            "set master_key (BOTPRIMEX_MASTER_KEY) to what {file} holds before the server starts, and back it up"
        )
    } else {
        format!("back {file} up")
    };
    format!(
        "{set}; backups of the database from before open with the key before alone: keep it as long as those"
    )
}
