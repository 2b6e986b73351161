//! What is said over the socket interface, from one connection to the next, without the socket: which request goes
//! next, what an answer belongs to, and what is owed when a connection is lost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{AskId, TradeCounters, TradeEvent};
use crate::binance::budget::{AccountTag, SharedBudget, Usage};
use crate::binance::error::{Effect, VenueError};
use crate::binance::rest::read_time;
use crate::binance::sign::{Credential, Signer};
use crate::binance::socket::{Down, announced, fault};
use crate::binance::trade::RECV_WINDOW;
use crate::binance::trade::call::Request;
use crate::binance::trade::frame::{Answer, FrameError, SocketFrame, read_frame};
use crate::binance::trade::report::UserFrame;
use crate::binance::transport::left_alone;

/// The most requests that may wait to be sent or answered.
const MOST_ASKED: usize = 1_000;

/// How long a connection that is to be closed is kept for the answers that are still on their way.
const LINGER: Duration = Duration::from_secs(2);

/// A call that its owner makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    /// What a signed one is stamped with.
    pub(super) at: Timestamp,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// There is none.
    Lost,
    /// The subscription is to be asked for.
    Opened,
    /// The subscription was asked for.
    Subscribing,
    /// The subscription is there.
    Up,
}

/// What was sent and is not answered yet.
#[derive(Debug)]
struct Sent {
    what: What,
    at: Instant,
    by: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Subscription,
    /// What time it is, before the subscription is asked for again.
    Time,
    Asked(Effect),
}

/// The venue's clock, as it was last told.
#[derive(Clone, Copy, Debug)]
struct Clock {
    at: Timestamp,
    told_at: Instant,
}

impl Clock {
    fn millis(self, now: Instant) -> i64 {
        let since = i64::try_from((now - self.told_at).as_millis()).unwrap_or(i64::MAX);
        self.at.millis().saturating_add(since)
    }
}

/// What outlives a connection.
pub(super) struct Talk {
    key: String,
    signer: Signer,
    clock: Clock,
    answer_within: Duration,
    next_id: u64,
    phase: Phase,
    /// Whether the venue's time is to be asked for before anything else is signed.
    needs_time: bool,
    /// Whether this connection's subscription was refused for its time before.
    is_late: bool,
    waiting: VecDeque<(AskId, Ask)>,
    sent: BTreeMap<u64, Sent>,
    /// Why the connection is to be closed, and when at the latest.
    closing: Option<(&'static str, Instant)>,
    /// What ended this connection, to be told by [`Talk::check`].
    ended: Option<Down>,
    /// What answers told of the limits since they were last accounted for.
    told: Vec<(Usage, u16, Option<Duration>)>,
    counters: TradeCounters,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (phase, counters) = (&self.phase, &self.counters);
        f.debug_struct("Talk").field("phase", phase).field("counters", counters).finish_non_exhaustive()
    }
}

impl Talk {
    pub(super) fn new(credential: &Credential, at: Timestamp, now: Instant, answer_within: Duration) -> Self {
        Self {
            key: credential.key().to_owned(),
            signer: credential.signer(),
            clock: Clock { at, told_at: now },
            answer_within,
            next_id: 0,
            phase: Phase::Lost,
            needs_time: false,
            is_late: false,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            closing: None,
            ended: None,
            told: Vec::new(),
            counters: TradeCounters::default(),
        }
    }

    pub(super) fn set_time(&mut self, at: Timestamp, now: Instant) {
        self.clock = Clock { at, told_at: now };
    }

    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::Up && self.closing.is_none()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn counters(&self) -> TradeCounters {
        self.counters
    }

    /// Takes a request in; what becomes of it is told as an event.
    pub(super) fn ask(&mut self, ask: Ask) -> AskId {
        let id = AskId(self.new_id());
        self.waiting.push_back((id, ask));
        id
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Answers what cannot be sent: everything while the connection is not up, and what is too much.
    pub(super) fn turn_away(&mut self, events: &mut Vec<TradeEvent>) {
        let room = if self.is_up() { MOST_ASKED.saturating_sub(self.sent.len()) } else { 0 };
        let message = if self.is_up() { "not sent: too many are waiting" } else { "not sent: not connected" };
        for (id, _) in self.waiting.drain(room.min(self.waiting.len())..) {
            events.push(unsent(id, message));
        }
    }

    /// Begins on a new connection.
    pub(super) fn start_over(&mut self) {
        self.counters.connects += 1;
        self.phase = Phase::Opened;
        (self.needs_time, self.is_late, self.closing, self.ended) = (false, false, None, None);
    }

    /// Ends this connection once nothing is on its way any more; from now on nothing is sent.
    pub(super) fn close(&mut self, reason: &'static str, now: Instant) {
        self.closing.get_or_insert((reason, now + LINGER));
    }

    /// The message that is to be sent now, if any, signed. [`Talk::sent`] says that it was; until then
    /// it is the same request that comes again.
    pub(super) fn next_message(
        &mut self,
        now: Instant,
        budget: &SharedBudget,
        events: &mut Vec<TradeEvent>,
    ) -> Option<(u64, String)> {
        let is_asking_time = self.sent.values().any(|sent| sent.what == What::Time);
        let blocked = budget.lock().blocked_until(now);
        let must_wait = blocked.is_some() && self.phase != Phase::Up;
        if self.is_closing() || self.ended.is_some() || is_asking_time || must_wait {
            return None;
        }
        if self.needs_time {
            let id = self.next_id + 1;
            return Some((id, json!({ "id": id, "method": "time" }).to_string()));
        }
        match self.phase {
            Phase::Lost | Phase::Subscribing => None,
            Phase::Opened => {
                let id = self.next_id + 1;
                let at = self.clock.millis(now);
                Some((id, self.signed(id, "userDataStream.subscribe.signature", "", at)))
            }
            Phase::Up => {
                self.turn_away(events);
                if let Some(until) = blocked {
                    for (id, _) in self.waiting.drain(..) {
                        events.push(TradeEvent::Answer { id, result: Err(left_alone(until - now)) });
                    }
                }
                let (id, ask) = self.waiting.front()?;
                Some((id.0, self.message(id.0, ask)))
            }
        }
    }

    /// A message of [`Talk::next_message`] was sent: from here on its outcome is the venue's to tell.
    pub(super) fn sent(&mut self, id: u64, now: Instant) {
        let what = if self.needs_time {
            self.needs_time = false;
            What::Time
        } else if self.phase == Phase::Opened {
            self.phase = Phase::Subscribing;
            What::Subscription
        } else {
            let Some((_, ask)) = self.waiting.pop_front() else { return };
            What::Asked(ask.request.endpoint.effect)
        };
        self.next_id = self.next_id.max(id);
        self.sent.insert(id, Sent { what, at: now, by: now + self.answer_within });
    }

    /// A call as it is sent.
    fn message(&self, id: u64, ask: &Ask) -> String {
        let (endpoint, at) = (ask.request.endpoint, ask.at.millis());
        if endpoint.is_signed {
            return self.signed(id, endpoint.socket_method, &ask.request.parameters, at);
        }
        json!({ "id": id, "method": endpoint.socket_method }).to_string()
    }

    /// A signed request: its parameters, the key, the time and the signature over all of them.
    fn signed(&self, id: u64, method: &str, parameters: &str, timestamp: i64) -> String {
        let (time_text, window_text) = (timestamp.to_string(), RECV_WINDOW.as_millis().to_string());
        let mut pairs: Vec<(&str, &str)> =
            parameters.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let mut params: Map<String, Value> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        pairs.extend([("apiKey", &*self.key), ("recvWindow", &window_text), ("timestamp", &time_text)]);
        params.insert("apiKey".to_owned(), Value::from(&*self.key));
        params.insert("recvWindow".to_owned(), json!(RECV_WINDOW.as_millis()));
        params.insert("timestamp".to_owned(), Value::from(timestamp));
        params.insert("signature".to_owned(), Value::from(self.signer.websocket(&mut pairs)));
        json!({ "id": id, "method": method, "params": params }).to_string()
    }

    /// Takes one text frame in.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn hear(
        &mut self,
        frame: &[u8],
        now: Instant,
        events: &mut Vec<TradeEvent>,
    ) -> Result<(), FrameError> {
        self.counters.frames += 1;
        match read_frame(frame).inspect_err(|_| self.counters.bad_frames += 1)? {
            SocketFrame::Answer(answer) => self.hear_answer(&answer, now, events),
            SocketFrame::User(UserFrame::Report(report)) => events.push(TradeEvent::Report(report)),
            SocketFrame::User(UserFrame::Balances { balances, at }) => {
                events.push(TradeEvent::Balances { balances, at });
            }
            SocketFrame::User(UserFrame::Moved { asset, delta, at }) => {
                events.push(TradeEvent::Moved { asset, delta, at });
            }
            SocketFrame::User(UserFrame::Terminated) => self.end(fault("the venue ended the user's stream")),
            SocketFrame::User(UserFrame::ServerShutdown) => {
                self.close("the venue announced a shutdown", now);
            }
            SocketFrame::User(UserFrame::Other) => {}
        }
        Ok(())
    }

    fn hear_answer(&mut self, answer: &Answer, now: Instant, events: &mut Vec<TradeEvent>) {
        self.told.push((answer.usage, answer.status, answer.retry_after));
        let Some((id, sent)) = answer.id.and_then(|id| self.sent.remove_entry(&id)) else {
            self.counters.stray_answers += 1;
            return;
        };
        match sent.what {
            What::Asked(effect) => {
                events.push(TradeEvent::Answer { id: AskId(id), result: answer.body(effect) });
            }
            What::Subscription => self.hear_subscription(answer, events),
            What::Time => match answer.body(Effect::Read).and_then(|body| read_time(&body)) {
                Ok(at) => {
                    self.set_time(at, now);
                    events.push(TradeEvent::Time { at, took: now - sent.at });
                }
                Err(error) => self.end(fault(format!("the venue does not tell its time: {error}"))),
            },
        }
    }

    fn hear_subscription(&mut self, answer: &Answer, events: &mut Vec<TradeEvent>) {
        match answer.read::<Subscribed>(Effect::Read) {
            Ok(_) => {
                self.phase = Phase::Up;
                events.push(TradeEvent::Up);
            }
            Err(VenueError::Clock { .. }) if !self.is_late => {
                (self.phase, self.needs_time, self.is_late) = (Phase::Opened, true, true);
            }
            Err(error) => {
                self.end(fault(format!("the subscription was refused: {error}")));
                events.push(TradeEvent::Refused(error));
            }
        }
    }

    fn end(&mut self, down: Down) {
        self.ended.get_or_insert(down);
    }

    /// Passes on what answers told of the limits.
    pub(super) fn account_for(&mut self, budget: &SharedBudget, account: AccountTag, now: Instant) {
        for (usage, status, retry_after) in self.told.drain(..) {
            let mut budget = budget.lock();
            budget.learn(now, Some(account), usage);
            budget.refused(now, status, retry_after);
        }
    }

    /// When a deadline passes.
    pub(super) fn deadline(&self) -> Instant {
        let closing = self.closing.map(|(_, by)| by);
        let answers = self.sent.values().map(|sent| sent.by);
        answers.chain(closing).min().unwrap_or_else(|| Instant::now() + self.answer_within)
    }

    /// Checks the deadlines, and whether the connection has come to its end.
    ///
    /// # Errors
    /// Why it has.
    pub(super) fn check(&mut self, now: Instant, events: &mut Vec<TradeEvent>) -> Result<(), Down> {
        if let Some(down) = self.ended.take() {
            return Err(down);
        }
        if let Some((reason, by)) = self.closing
            && (now >= by || self.sent.is_empty())
        {
            return Err(announced(reason));
        }
        let seconds = self.answer_within.as_secs();
        for (id, sent) in self.sent.extract_if(.., |_, sent| sent.by <= now) {
            let What::Asked(effect) = sent.what else {
                return Err(fault(format!("the venue did not answer in {seconds} s")));
            };
            events.push(unanswered(AskId(id), effect, format!("no answer in {seconds} s")));
        }
        Ok(())
    }

    /// The connection is lost: tells what became of all that was asked.
    pub(super) fn lose(&mut self, reason: &str, events: &mut Vec<TradeEvent>) {
        self.phase = Phase::Lost;
        for (id, sent) in std::mem::take(&mut self.sent) {
            if let What::Asked(effect) = sent.what {
                events.push(unanswered(AskId(id), effect, format!("the connection was lost: {reason}")));
            }
        }
        self.turn_away(events);
    }
}

fn unsent(id: AskId, message: &str) -> TradeEvent {
    TradeEvent::Answer { id, result: Err(VenueError::Retry { after: None, message: message.to_owned() }) }
}

fn unanswered(id: AskId, effect: Effect, message: String) -> TradeEvent {
    TradeEvent::Answer { id, result: Err(VenueError::unanswered(effect, message)) }
}

/// The answer to a subscription.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscribed {
    #[serde(rename = "subscriptionId")]
    _subscription_id: u64,
}
