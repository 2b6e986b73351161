//! Which signal is the same as one before.

use model::TradeId;
use sha2::{Digest as _, Sha256};

use super::{Action, Signal, SignalStatus};
use crate::change::BotStatus;

/// How long an id of the sender's is remembered, in seconds.
const SAME_ID_S: i64 = 24 * 3_600;

/// How long a body is remembered, in seconds, where its sender gives it no id.
const SAME_BODY_S: i64 = 60;

/// What two signals of a hook have in common that are the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sameness {
    /// Their sender's id, for a day.
    Id(String),
    /// Their bodies, for a minute, as long as nothing was carried out in between.
    Body(String),
}

impl Sameness {
    pub(super) fn of(id: Option<&str>, body: &[u8]) -> Self {
        id.map_or_else(
            || Self::Body(format!("body {}", hex::encode(Sha256::digest(body)))),
            |id| Self::Id(format!("id {id}")),
        )
    }

    /// The text that it is stored as.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Body(text) => text,
        }
    }

    /// For how many seconds it counts.
    pub(super) const fn seconds(&self) -> i64 {
        match self {
            Self::Id(_) => SAME_ID_S,
            Self::Body(_) => SAME_BODY_S,
        }
    }
}

/// Whether what `before` ordered still stands, so that the same body sent again is that signal again: its bot was not
/// started, stopped or traded with otherwise since. A signal that failed carried nothing out.
pub(super) fn still_stands(before: &Signal, status: BotStatus, open_trade: Option<TradeId>) -> bool {
    let is_waiting = before.status == SignalStatus::Accepted;
    let is_alive = matches!(status, BotStatus::Starting | BotStatus::Running);
    match before.action {
        _ if before.status == SignalStatus::Failed => false,
        Action::Start => is_waiting || is_alive,
        Action::Stop => is_waiting || !is_alive,
        Action::Close | Action::Add => open_trade.is_none_or(|trade| before.trade_id == Some(trade)),
    }
}

#[cfg(test)]
mod tests {
    use model::{AccountId, BotId, HookId, SignalId, Timestamp};

    use super::*;
    use crate::change::Positions;
    use crate::store::stores;
    use crate::sweep::tests::{hook, signal};

    #[track_caller]
    fn check(action: Action, was: SignalStatus, status: BotStatus, trades: [Option<u128>; 2], stands: bool) {
        let [before, now] = trades.map(|trade| trade.map(TradeId::from_u128));
        let signal = Signal {
            id: SignalId::new(),
            hook_id: HookId::new(),
            account_id: AccountId::new(),
            bot_id: BotId::new(),
            trade_id: before,
            action,
            positions: Positions::Hold,
            amount: None,
            status: was,
            failure: None,
            received_at: Timestamp::from_nanos(0),
            attempts: 0,
        };
        assert_eq!(still_stands(&signal, status, now), stands, "{action:?} {was:?} {status:?} {trades:?}");
    }

    #[test]
    fn the_same_body_is_a_repeat_while_what_it_ordered_stands() {
        use BotStatus::{Error, Running, Stopped, Stopping};
        use SignalStatus::{Accepted, Done, Failed};
        const NONE: [Option<u128>; 2] = [None; 2];
        check(Action::Start, Accepted, Stopped, NONE, true);
        check(Action::Start, Done, Running, NONE, true);
        check(Action::Start, Done, Stopped, NONE, false);
        check(Action::Start, Done, Error, NONE, false);
        check(Action::Stop, Accepted, Running, NONE, true);
        check(Action::Stop, Done, Stopping, NONE, true);
        check(Action::Stop, Done, Running, NONE, false);
        check(Action::Close, Done, Running, [Some(1), None], true);
        check(Action::Close, Accepted, Running, [Some(1), Some(1)], true);
        check(Action::Close, Done, Running, [Some(1), Some(2)], false);
        check(Action::Close, Done, Running, [None, Some(2)], false);
        check(Action::Add, Done, Running, [Some(1), Some(1)], true);
        check(Action::Add, Failed, Running, NONE, false);
    }

    #[tokio::test]
    async fn a_body_is_remembered_until_another_signal_is_carried_out_and_an_id_beyond_that() {
        for (store, _folder) in stores().await {
            let account = store.create_account("one", Timestamp::from_nanos(0)).await.unwrap().id;
            let hook = hook(&store, account, |_| None).await;
            let same = |text: &str| Sameness::Body(format!("body {text}"));
            let add = async |second: i64, same: Sameness| {
                let signal = signal(&hook, Timestamp::from_millis(second * 1_000));
                store.add_signal(&signal, &same).await.unwrap();
                signal.id
            };
            let before = async |same: Sameness| {
                let now = signal(&hook, Timestamp::from_millis(20_000));
                let before = store.signal_before(&now, &same, Timestamp::from_millis(500)).await.unwrap();
                before.map(|signal| signal.id)
            };
            let named = add(1, Sameness::Id("id a".to_owned())).await;
            let start = add(2, same("start")).await;
            let failed = add(3, same("add")).await;
            let why = Some(("no_trade_open".to_owned(), String::new()));
            store.note_signal(failed, SignalStatus::Failed, why, Timestamp::from_nanos(0)).await.unwrap();
            assert_eq!(before(same("start")).await, Some(start), "what failed changed nothing");
            let stop = add(4, same("stop")).await;
            assert_eq!(before(same("start")).await, None);
            assert_eq!(before(same("stop")).await, Some(stop));
            assert_eq!(before(Sameness::Id("id a".to_owned())).await, Some(named));
            let again = add(5, same("start")).await;
            assert_eq!(before(same("start")).await, Some(again));
        }
    }
}
