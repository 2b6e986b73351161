//! Everything that is sealed, batch by batch.

use zeroize::Zeroizing;

use crate::secrets::{OpenError, Vault};
use crate::store::{Sealed, SealedKind, Store, StoreError};

/// How much is read at once, and written in one transaction.
const BATCH: u32 = 100;

/// How many secrets there are, by what they are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SecretCount {
    /// Exchange connections.
    pub exchanges: usize,
    /// Webhooks.
    pub webhooks: usize,
    /// Inbound hooks.
    pub hooks: usize,
    /// Answers that are kept for a day.
    pub answers: usize,
    /// Connections, webhooks and hooks that do not open: sealed with another key, or changed by others.
    pub unreadable: usize,
    /// Likewise answers, as those from before the master key changed while nothing else was stored.
    pub unreadable_answers: usize,
}

impl SecretCount {
    /// How many were opened.
    pub const fn opened(&self) -> usize {
        self.exchanges + self.webhooks + self.hooks + self.answers
    }

    pub(super) const fn add(&mut self, kind: SealedKind, opened: usize, unreadable: usize) {
        let (count, lost) = match kind {
            SealedKind::Exchanges => (&mut self.exchanges, &mut self.unreadable),
            SealedKind::Webhooks => (&mut self.webhooks, &mut self.unreadable),
            SealedKind::Hooks => (&mut self.hooks, &mut self.unreadable),
            SealedKind::Answers => (&mut self.answers, &mut self.unreadable_answers),
        };
        *count += opened;
        *lost += unreadable;
    }
}

/// Hands on all that is sealed with another version of the master key than this, in batches of one kind.
pub(super) async fn walk(
    store: &Store,
    not_under: i64,
    mut with: impl AsyncFnMut(SealedKind, Vec<Sealed>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for kind in SealedKind::ALL {
        let mut after = <(String, String)>::default();
        loop {
            let batch = store.sealed(kind, not_under, &after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = last.place();
            with(kind, batch).await?;
        }
    }
    Ok(())
}

/// The same secret, sealed with another key; `None`, and a line in the log, where it does not open.
///
/// Not only the data key is wrapped anew: what it seals is bound to the master key's version as well, and so gets
/// another data key.
pub(super) fn reseal(sealed: &Sealed, old: &Vault, new: &Vault) -> Option<Sealed> {
    let (account, name) = sealed.place();
    let told = |error: &OpenError| match sealed {
        Sealed::Exchange { .. } | Sealed::Webhook { .. } | Sealed::Hook { .. } => {
            tracing::warn!(%error, "{name} of {account} does not open");
        }
        Sealed::Answer { .. } => tracing::debug!(%error, "an answer that {account} was given does not open"),
    };
    resealed(sealed, old, new).inspect_err(told).ok()
}

fn resealed(sealed: &Sealed, old: &Vault, new: &Vault) -> Result<Sealed, OpenError> {
    Ok(match sealed {
        Sealed::Exchange { account, id, exchange, sealed, .. } => {
            let credential = old.open(*account, *id, sealed)?;
            let key_hash = new.fingerprint(*exchange, &credential.api_key).to_vec();
            let sealed = new.seal(*account, *id, &credential);
            Sealed::Exchange { account: *account, id: *id, exchange: *exchange, sealed, key_hash }
        }
        Sealed::Webhook { account, id, sealed } => {
            let plain = old.open_record(*account, *id, sealed)?;
            Sealed::Webhook { account: *account, id: *id, sealed: new.seal_record(*account, *id, &plain) }
        }
        Sealed::Hook { account, id, sealed } => {
            let plain = old.open_record(*account, *id, sealed)?;
            Sealed::Hook { account: *account, id: *id, sealed: new.seal_record(*account, *id, &plain) }
        }
        Sealed::Answer { account, key, sealed } => {
            let body = Zeroizing::new(old.open_answer(*account, key, sealed)?);
            Sealed::Answer {
                account: *account,
                key: key.clone(),
                sealed: new.seal_answer(*account, key, &body),
            }
        }
    })
}
