//! Owners at work while the server is killed: they create, change, start, stop and delete bots, close trades and add to
//! them, at random. What was answered with a success holds after the next start, as the API shows it; what got no answer
//! was done whole or not at all, and never twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::fleet::{self, Kind};
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::seen::{Closed, Seen, list, number};
use crate::user::{Answer, User, text};

/// Every kind of thing that can be wrong, besides what both oracles find.
pub(crate) const KINDS: [&str; 7] = [
    "bots lost",
    "bots doubled",
    "deleted bots back",
    "changes lost",
    "starts and stops lost",
    "orders lost",
    "closes lost",
];

/// How long an owner pauses between two actions at most.
const BETWEEN_MS: u64 = 15;

/// How long it may take after a start until a stop or a close that was acknowledged before is carried out: an order in
/// doubt is waited for.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(45);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// How many bots an owner has at most.
const MOST: usize = 40;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Acted {
    pub(crate) kills: usize,
    pub(crate) took: Duration,
    pub(crate) recoveries: Vec<Duration>,
    /// How often each action was acknowledged, refused, and not answered.
    pub(crate) actions: BTreeMap<&'static str, [usize; 3]>,
    pub(crate) orders: usize,
    pub(crate) fills: usize,
    pub(crate) trades: usize,
    pub(crate) violations: Violations,
}

/// What an owner knows of a bot.
#[derive(Clone, Debug)]
struct Known {
    /// What it may be doing: what was acknowledged last, and what was asked for since and got no answer.
    may: Vec<Wish>,
    /// Likewise its take profit.
    take_profit: Vec<Decimal>,
}

/// What a bot was told last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Rest,
    Run,
    /// To stop once it is flat by itself.
    Drain,
    /// To sell and stop.
    Close,
    Gone,
}

impl Wish {
    /// Whether a bot that was told so can show a status; none means that it is not there.
    fn allows(self, status: Option<&str>) -> bool {
        match self {
            Self::Gone => status.is_none(),
            Self::Run => matches!(status, Some("running" | "starting" | "error")),
            Self::Rest | Self::Drain | Self::Close => {
                matches!(status, Some("stopped" | "stopping" | "error"))
            }
        }
    }
}

/// A creation that got no answer yet: the name, the idempotency key and the body.
#[derive(Clone, Debug)]
struct Creation {
    name: String,
    once: String,
    body: Value,
}

/// Everything that was answered with a success, and what got no answer.
#[derive(Debug)]
struct Record {
    exchange_id: String,
    bots: BTreeMap<String, Known>,
    unsure: Vec<Creation>,
    /// Orders that an answer showed: of which trade, and how much of each was filled.
    orders: BTreeMap<String, (String, Decimal)>,
    /// Trades that an answer showed as closed, and those that are to be.
    closed: BTreeSet<String>,
    closing: BTreeSet<String>,
    names: usize,
    /// The server is gone.
    is_cut: bool,
    dice: ChaCha8Rng,
    /// By action: acknowledged, refused, not answered.
    actions: BTreeMap<&'static str, [usize; 3]>,
}

/// Runs a plan.
pub(crate) async fn run(plan: &Plan, folder: &Path) -> Result<Acted> {
    let began = Instant::now();
    let mut acted = Acted { kills: plan.kills, ..Acted::default() };
    let (mut stage, mut life) = Stage::set(plan, folder).await?;
    let stored = life.user(&stage.server.http, &stage.key).get("/v1/exchanges").await?;
    let exchange_id = list(&stored, "data").first().map(|row| text(row, "id").to_owned()).unwrap_or_default();
    let shown = life.user(&stage.server.http, &stage.key).all("/v1/bots").await?;
    let known = |bot: &Value| (text(bot, "id").to_owned(), Known::new(Wish::Run, bot));
    let mut record = Record {
        exchange_id,
        bots: shown.iter().map(known).collect(),
        unsure: Vec::new(),
        orders: BTreeMap::new(),
        closed: BTreeSet::new(),
        closing: BTreeSet::new(),
        names: 0,
        is_cut: false,
        dice: ChaCha8Rng::seed_from_u64(plan.seed),
        actions: BTreeMap::new(),
    };
    let mut closed = Closed::default();
    for kill in 1..=plan.kills {
        let user = life.user(&stage.server.http, &stage.key);
        let length = Duration::from_millis(record.dice.random_range(300..2_500));
        // It goes on until it gets no answer.
        let (worked, killed) = tokio::join!(timeout(length + ANSWER, record.work(&user)), async {
            sleep(length).await;
            life.signal("KILL")
        });
        killed?;
        worked.context("the server lives on")?;
        drop(life);
        life = stage.server.live().await?;
        acted.recoveries.push(life.recovery);
        let user = life.user(&stage.server.http, &stage.key);
        record.check(&user, &mut closed, &mut acted.violations).await?;
        if kill % 10 == 0 || kill == plan.kills {
            eprintln!("torture: {kill} kills, {} bots", record.bots.len());
        }
    }
    let user = life.user(&stage.server.http, &stage.key);
    record.wait_for_closes(&user, &mut acted.violations).await?;
    stage.bots =
        record.bots.iter().filter(|(_, known)| known.may != [Wish::Gone]).map(|(id, _)| id.clone()).collect();
    stage.settle(&life, &mut acted.violations).await?;
    let seen = Seen::read(&user).await?;
    life.stop()?;
    let (ledger, _, judged) = stage.judge().await?;
    acted.violations.merge(judged);
    acted.violations.merge(seen.judge(&ledger));
    (acted.orders, acted.fills, acted.trades) = (ledger.orders.len(), ledger.fills.len(), seen.trades.len());
    acted.actions = record.actions;
    acted.recoveries.sort_unstable();
    acted.took = began.elapsed();
    if acted.fills == 0 {
        bail!("nothing was traded, so nothing is proven: see {}", folder.display());
    }
    Ok(acted)
}

impl Record {
    /// Does one thing after the other, until one gets no answer.
    async fn work(&mut self, user: &User) {
        self.is_cut = false;
        while !self.is_cut {
            sleep(Duration::from_millis(self.dice.random_range(0..BETWEEN_MS))).await;
            let bots: Vec<String> = self
                .bots
                .iter()
                .filter(|(_, known)| known.may != [Wish::Gone])
                .map(|(id, _)| id.clone())
                .collect();
            let Some(bot) = bots.choose(&mut self.dice).cloned() else { return };
            match self.dice.random_range(0..14) {
                0 | 1 if bots.len() < MOST => self.create(user).await,
                0..=3 => self.tell(user, &bot, "start", Wish::Run).await,
                4 => self.tell(user, &bot, "hold", Wish::Rest).await,
                5 => self.tell(user, &bot, "close", Wish::Close).await,
                6 => self.tell(user, &bot, "drain", Wish::Drain).await,
                7 | 8 => self.change(user, &bot).await,
                9 => self.delete(user, &bot).await,
                10 | 11 => self.close_trade(user, &bot).await,
                _ => self.add_funds(user, &bot).await,
            }
        }
    }

    /// Counts an action; whether it was acknowledged.
    fn count(&mut self, action: &'static str, answer: &Result<Answer>) -> Option<bool> {
        let outcome = answer.as_ref().ok().map(Answer::is_success);
        let counts = self.actions.entry(action).or_default();
        let place = match outcome {
            Some(true) => 0,
            Some(false) => 1,
            None => {
                self.is_cut = true;
                2
            }
        };
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
        outcome
    }

    async fn create(&mut self, user: &User) {
        self.names += 1;
        let name = format!("owner {}", self.names);
        let is_live = self.dice.random_bool(0.4);
        let mut body = fleet::body(Kind::Mixed, self.names, &self.exchange_id);
        if let Some(body) = body.as_object_mut() {
            body.insert("name".to_owned(), json!(name));
            body.insert("dry_run".to_owned(), json!(!is_live));
        }
        let creation = Creation { name, once: format!("create-{}", self.names), body };
        self.unsure.push(creation.clone());
        let Creation { once, body, .. } = &creation;
        let answer = user.ask_once(Method::POST, "/v1/bots", Some(body), Some(once)).await;
        if self.count("create", &answer).is_some() {
            self.unsure.pop();
        }
        if let Ok(Answer { status: 201, body, .. }) = answer {
            self.bots.insert(text(&body, "id").to_owned(), Known::new(Wish::Rest, &body));
        }
    }

    /// Starts or stops a bot.
    async fn tell(&mut self, user: &User, bot: &str, how: &'static str, wish: Wish) {
        let Some(known) = self.bots.get_mut(bot) else { return };
        known.may.push(wish);
        let (verb, body) =
            if wish == Wish::Run { ("start", json!({})) } else { ("stop", json!({"positions": how})) };
        let answer = user.ask(Method::POST, &format!("/v1/bots/{bot}/{verb}"), Some(&body)).await;
        self.settle(how, bot, wish, &answer);
    }

    async fn delete(&mut self, user: &User, bot: &str) {
        let Some(known) = self.bots.get_mut(bot) else { return };
        known.may.push(Wish::Gone);
        let answer = user.ask(Method::DELETE, &format!("/v1/bots/{bot}"), None).await;
        self.settle("delete", bot, Wish::Gone, &answer);
    }

    /// Takes an answer to a wish.
    fn settle(&mut self, action: &'static str, bot: &str, wish: Wish, answer: &Result<Answer>) {
        let outcome = self.count(action, answer);
        let Some(known) = self.bots.get_mut(bot) else { return };
        match outcome {
            Some(true) => known.may = vec![wish],
            // A 503 may have been done all the same.
            Some(false) if answer.as_ref().is_ok_and(|answer| answer.status < 500) => drop(known.may.pop()),
            Some(false) | None => {}
        }
    }

    async fn change(&mut self, user: &User, bot: &str) {
        let take_profit = Decimal::new(self.dice.random_range(20..60), 2);
        let Some(known) = self.bots.get_mut(bot) else { return };
        known.take_profit.push(take_profit);
        let body = json!({"take_profit": take_profit.to_string()});
        let answer = user.ask(Method::PATCH, &format!("/v1/bots/{bot}"), Some(&body)).await;
        let outcome = self.count("change", &answer);
        let Some(known) = self.bots.get_mut(bot) else { return };
        match outcome {
            Some(true) => known.take_profit = vec![take_profit],
            Some(false) if answer.is_ok_and(|answer| answer.status < 500) => drop(known.take_profit.pop()),
            Some(false) | None => {}
        }
    }

    async fn open_trade(&mut self, user: &User, bot: &str) -> Option<String> {
        let open = user.ask(Method::GET, &format!("/v1/bots/{bot}/trades?status=open"), None).await;
        self.is_cut |= open.is_err();
        let open = open.ok()?.body;
        list(&open, "data").first().map(|trade| text(trade, "id").to_owned())
    }

    async fn close_trade(&mut self, user: &User, bot: &str) {
        let Some(trade) = self.open_trade(user, bot).await else { return };
        let answer = user.ask(Method::POST, &format!("/v1/trades/{trade}/close"), Some(&json!({}))).await;
        if self.count("close trade", &answer) == Some(true)
            && let Ok(Answer { body, .. }) = answer
        {
            self.note(&body);
            let all = if text(&body, "status") == "closed" { &mut self.closed } else { &mut self.closing };
            all.insert(trade);
        }
    }

    async fn add_funds(&mut self, user: &User, bot: &str) {
        let Some(trade) = self.open_trade(user, bot).await else { return };
        let body = json!({"amount": 15});
        let answer = user.ask(Method::POST, &format!("/v1/trades/{trade}/add-funds"), Some(&body)).await;
        if self.count("add funds", &answer) == Some(true)
            && let Ok(Answer { body, .. }) = answer
        {
            self.note(&body);
        }
    }

    /// Notes what an answer shows of a trade.
    fn note(&mut self, trade: &Value) {
        for order in list(trade, "orders") {
            let filled = number(order, "filled_qty");
            self.orders.insert(text(order, "id").to_owned(), (text(trade, "id").to_owned(), filled));
        }
    }

    /// Compares with what the API shows after a start, and learns what became of what got no answer.
    async fn check(&mut self, user: &User, closed: &mut Closed, found: &mut Violations) -> Result<()> {
        for Creation { name, once, body } in std::mem::take(&mut self.unsure) {
            let created = user.ask_once(Method::POST, "/v1/bots", Some(&body), Some(&once)).await?;
            if created.status != 201 {
                found.note(
                    "bots lost",
                    format!("{name} asked for again: {} {}", created.status, created.body),
                );
                continue;
            }
            let id = text(&created.body, "id").to_owned();
            self.bots.insert(id, Known::new(Wish::Rest, &created.body));
        }
        let shown = user.all("/v1/bots").await?;
        let mut names = BTreeSet::new();
        for bot in &shown {
            let (id, name) = (text(bot, "id"), text(bot, "name"));
            if !names.insert(name) || !self.bots.contains_key(id) {
                found.note("bots doubled", format!("{id} {name}"));
            }
        }
        for (id, known) in &mut self.bots {
            let bot = shown.iter().find(|bot| text(bot, "id") == id);
            known.check(id, bot, found);
        }
        let trades = user.all("/v1/trades").await?;
        closed.look(&trades, found);
        let status: BTreeMap<&str, &str> =
            trades.iter().map(|trade| (text(trade, "id"), text(trade, "status"))).collect();
        for id in self.closed.iter().filter(|id| status.get(id.as_str()) != Some(&"closed")) {
            found.note("closes lost", format!("{id} is {:?}", status.get(id.as_str())));
        }
        let filled: BTreeMap<&str, Decimal> = trades
            .iter()
            .flat_map(|trade| list(trade, "orders"))
            .map(|order| (text(order, "id"), number(order, "filled_qty")))
            .collect();
        for (order, (trade, was)) in &self.orders {
            let is = filled.get(order.as_str());
            if is.is_none_or(|is| is < was) {
                found.note("orders lost", format!("{order} of {trade}: {was} was filled, then {is:?}"));
            }
        }
        Ok(())
    }

    /// Waits until everything that was to be closed is.
    async fn wait_for_closes(&mut self, user: &User, found: &mut Violations) -> Result<()> {
        let deadline = Instant::now() + CARRIED_OUT_WITHIN;
        loop {
            let trades = user.all("/v1/trades?status=open").await?;
            let told = |bot: &str| self.bots.get(bot).is_some_and(|known| known.may == [Wish::Close]);
            let left: Vec<String> = trades
                .iter()
                .filter(|trade| self.closing.contains(text(trade, "id")) || told(text(trade, "bot_id")))
                .map(|trade| format!("{} of {}", text(trade, "id"), text(trade, "bot_id")))
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                for trade in left {
                    found.note(
                        "closes lost",
                        format!("{trade} is open {} s later", CARRIED_OUT_WITHIN.as_secs()),
                    );
                }
                return Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Known {
    /// A bot as an answer shows it.
    fn new(wish: Wish, bot: &Value) -> Self {
        Self { may: vec![wish], take_profit: vec![number(bot, "take_profit")] }
    }

    /// Compares a bot with what it may be; from then on it may only be what it is.
    fn check(&mut self, id: &str, bot: Option<&Value>, found: &mut Violations) {
        let status = bot.map(|bot| text(bot, "status"));
        self.may.retain({
            let before = self.may.clone();
            let is_any = before.iter().any(|wish| wish.allows(status));
            if !is_any {
                let kind = match status {
                    None => "bots lost",
                    Some(_) if before == [Wish::Gone] => "deleted bots back",
                    Some(_) => "starts and stops lost",
                };
                found.note(kind, format!("{id} was told {before:?} and is {status:?}"));
            }
            move |wish| !is_any || wish.allows(status)
        });
        let Some(bot) = bot else { return };
        let shown = number(bot, "take_profit");
        if !self.take_profit.contains(&shown) {
            found.note("changes lost", format!("{id} was given {:?} and has {shown}", self.take_profit));
        }
        self.take_profit = vec![shown];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a bot of which so much is known.
    #[track_caller]
    fn check(may: &[Wish], take_profit: &[i64], status: Option<&str>, expected: &[&str]) {
        let bot = status.map(|status| json!({"status": status, "take_profit": 0.3}));
        let take_profit = take_profit.iter().map(|pct| Decimal::new(*pct, 1)).collect();
        let mut found = Violations::default();
        Known { may: may.to_vec(), take_profit }.check("bot_1", bot.as_ref(), &mut found);
        let kinds: Vec<&str> = found.examples().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, expected, "{may:?} {status:?}");
    }

    #[test]
    fn what_was_acknowledged_and_does_not_hold_is_found() {
        check(&[Wish::Run], &[3], Some("running"), &[]);
        check(&[Wish::Run], &[3], Some("stopped"), &["starts and stops lost"]);
        check(&[Wish::Close], &[3], Some("running"), &["starts and stops lost"]);
        check(&[Wish::Rest], &[], None, &["bots lost"]);
        check(&[Wish::Gone], &[], None, &[]);
        check(&[Wish::Gone], &[3], Some("stopped"), &["deleted bots back"]);
        check(&[Wish::Rest], &[2], Some("stopped"), &["changes lost"]);
    }

    #[test]
    fn what_got_no_answer_was_done_or_not() {
        for status in [Some("running"), Some("stopped")] {
            check(&[Wish::Rest, Wish::Run], &[3, 2], status, &[]);
        }
        check(&[Wish::Rest, Wish::Gone], &[], None, &[]);
        check(&[Wish::Rest, Wish::Gone], &[3], Some("running"), &["starts and stops lost"]);
    }
}
