//! Over which connection a bot goes on whose own is gone. What it has open is at one account of the venue, and only a
//! key of that account reaches it.

use model::ExchangeId;

use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::record::Engagement;
use crate::store::{ExchangeConnection, Store, StoredBot};

/// Whether two connections are known to be of one account at one venue.
pub(super) fn is_same(one: &ExchangeConnection, other: &ExchangeConnection) -> bool {
    one.exchange == other.exchange && one.venue_account.is_some() && one.venue_account == other.venue_account
}

/// What is left behind where a connection is gone.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// What the venue calls the account that it is at, where that is known.
    venue_account: Option<i64>,
    /// Whether orders of it may be under way.
    is_under_way: bool,
    /// Which connection its owner names.
    named: Option<ExchangeId>,
}

impl Left {
    /// The connection among these that it goes on over: one that is known to be of the same account, before all the one
    /// that its owner names. Where nobody knows of which account it was, as of connections stored long ago, its owner's
    /// word counts, but not for orders: an account that does not know them would prove that they never were.
    fn heir(self, all: &[ExchangeConnection]) -> Option<ExchangeId> {
        let named = all.iter().find(|connection| Some(connection.id) == self.named);
        let is_known = |connection: &&ExchangeConnection| {
            self.venue_account.is_some() && connection.venue_account == self.venue_account
        };
        let is_untold = |connection: &&ExchangeConnection| {
            self.venue_account.is_none() || connection.venue_account.is_none()
        };
        let known = named.filter(is_known).or_else(|| all.iter().rfind(is_known));
        let found = known.or_else(|| named.filter(is_untold).filter(|_| !self.is_under_way));
        found.map(|connection| connection.id)
    }
}

impl EngineHandle {
    /// The connection that a bot goes on over which has, or last had, something at one; `None` where its definition
    /// alone decides.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] where what it has open is out of reach.
    pub(super) async fn goes_on_over(
        &self,
        bot: &StoredBot,
        engagement: Engagement,
    ) -> Result<Option<ExchangeId>, EngineError> {
        let Engagement { exchange_id, is_under_way, is_holding } = engagement;
        let (account, exchange) = (bot.account_id, bot.definition.exchange);
        let ask = move |store: Store| async move {
            let all = store.sealed_exchanges(account, Some(exchange), None).await?;
            Ok((all, store.venue_account(account, exchange_id).await?))
        };
        let (all, venue_account) = self.on_store(ask).await?;
        let all: Vec<_> = all.into_iter().map(|(connection, _)| connection).collect();
        if all.iter().any(|connection| connection.id == exchange_id) {
            return Ok(Some(exchange_id));
        }
        let named = bot.definition.exchange_id;
        if !is_holding && !is_under_way {
            return Ok(named);
        }
        let heir = Left { venue_account, is_under_way, named }.heir(&all).ok_or_else(|| {
            EngineError::field(
                "exchange_id",
                format!(
                    "what the bot has open was made over {exchange_id}, which is deleted, and no connection is known \
                     to be of the same account at {exchange}: store a key of that account with POST /v1/exchanges and \
                     set it to that"
                ),
            )
        })?;
        tracing::warn!(bot = %bot.id, gone = %exchange_id, %heir, "a bot goes on over another connection");
        Ok(Some(heir))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use model::{AccountId, Exchange, Timestamp};

    use super::*;
    use crate::store::KeyPermissions;

    /// A connection as it is stored.
    pub(crate) fn stored(number: u128, venue_account: Option<i64>) -> ExchangeConnection {
        ExchangeConnection {
            id: ExchangeId::from_u128(number),
            account_id: AccountId::from_u128(1),
            exchange: Exchange::Binance,
            name: "main".to_owned(),
            key_hint: "Fj0j".to_owned(),
            permissions: KeyPermissions { read: true, spot_trading: true, withdrawals: false },
            ip_bound: true,
            trades_until: None,
            venue_account,
            created_at: Timestamp::MIN,
        }
    }

    #[track_caller]
    fn check(left: (Option<i64>, bool, Option<u128>), all: &[ExchangeConnection], expected: Option<u128>) {
        let (venue_account, is_under_way, named) = left;
        let left = Left { venue_account, is_under_way, named: named.map(ExchangeId::from_u128) };
        assert_eq!(left.heir(all), expected.map(ExchangeId::from_u128), "{left:?}");
    }

    #[test]
    fn what_is_left_goes_on_over_a_connection_of_the_same_account_or_by_its_owners_word() {
        let all = [stored(1, Some(70)), stored(2, Some(80)), stored(3, Some(70)), stored(4, None)];
        check((Some(70), true, None), &all, Some(3));
        check((Some(70), true, Some(1)), &all, Some(1));
        check((Some(70), true, Some(2)), &all, Some(3));
        check((Some(90), false, Some(2)), &all, None);
        check((Some(90), false, None), &all, None);
        check((Some(90), false, Some(4)), &all, Some(4));
        check((Some(90), true, Some(4)), &all, None);
        check((None, false, Some(2)), &all, Some(2));
        check((None, true, Some(2)), &all, None);
        check((None, false, None), &all, None);
        check((None, false, Some(9)), &all, None);
    }
}
