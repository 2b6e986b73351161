//! What a bot knows of the market beside the moves that wake it: the newest price, by which a live bot decides, and the
//! highs that it sleeps through while nothing wakes it.

use std::sync::Arc;

use model::{Price, PriceMove};

use super::{Bot, Hand};
use crate::actors::deliver;
use crate::actors::feed::{Rewatch, Since, Woken};
use crate::trailing::TrailingStop;
use crate::watch_index::RecentPrices;

/// The ticks of a bot's symbol, as far as its machine has heard of them.
#[derive(Default)]
pub(super) struct Hearing {
    /// What the ticks come to; `None` until the bot watches.
    recent: Option<Arc<RecentPrices>>,
    /// The last tick that the machine has heard of.
    known: u64,
    /// Whether its trailing stop is shown to whoever reads its trade.
    is_shown: bool,
}

impl Hearing {
    /// The bot watches from the tick after this one on.
    pub(super) fn begin(&mut self, recent: Arc<RecentPrices>, seq: u64) {
        (self.recent, self.known) = (Some(recent), seq);
    }

    /// The last tick that the machine has heard of.
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// What to tell a machine on paper that a tick wakes: what was heard before its last entry is told no more.
    pub(super) fn on_paper(&mut self, woken: &Woken) -> PriceMove {
        let is_older = woken.seq <= self.known;
        self.known = self.known.max(woken.seq);
        if is_older { PriceMove::tick(woken.moved.price, woken.moved.at) } else { woken.moved }
    }

    /// Takes every tick so far for one that is older than what the bot was told since.
    pub(super) fn forget(&mut self) {
        if let Some(recent) = &self.recent {
            self.known = self.known.max(recent.seq());
        }
    }
}

impl Bot {
    /// The move that a live bot decides on once it is woken: to the newest price, where that is the market's. Else it is
    /// told of the highs alone.
    pub(super) fn move_to_newest(&mut self, woken: &Woken) -> Option<PriceMove> {
        let Some(recent) = self.hearing.recent.clone() else { return Some(woken.moved) };
        let Some(newest) =
            recent.newest_since(woken.seq.saturating_sub(1)).filter(|newest| newest.is_current)
        else {
            self.catch_up();
            return None;
        };
        let high = recent.high_since(self.hearing.known).map_or(newest.price, |high| high.max(newest.price));
        self.hearing.known = self.hearing.known.max(newest.seq);
        let low = woken.moved.low.min(newest.price);
        Some(PriceMove { price: newest.price, at: newest.at, high, low })
    }

    /// Tells a live machine what was traded since it was woken last, before somebody has a word with it: the highs, and
    /// the newest price where that is the market's. On paper what comes next tells it.
    pub(super) fn catch_up(&mut self) {
        let Some(recent) = self.hearing.recent.clone() else { return };
        let Hand::Live(live) = &mut self.hand else { return };
        let Some(newest) = recent.newest_since(self.hearing.known) else { return };
        let high = recent.high_since(self.hearing.known).unwrap_or(newest.price);
        live.bot_mut().observe(high, newest.is_current.then_some((newest.price, newest.at)));
        self.hearing.known = newest.seq;
    }

    /// The newest price that is known of its symbol.
    pub(super) fn newest_price(&self) -> Option<Price> {
        self.hearing.recent.as_ref()?.newest_since(0).map(|newest| newest.price)
    }

    /// The highest price since its machine was told of one last.
    pub(super) fn high_since_told(&self) -> Option<Price> {
        self.hearing.recent.as_ref()?.high_since(self.hearing.known)
    }

    /// Tells a machine on paper of the highs that it has slept through, because nothing more will be told to it.
    pub(super) fn hear_out(&mut self) {
        let Hand::Paper(paper) = &mut self.hand else { return };
        let Some(high) =
            self.hearing.recent.as_ref().and_then(|recent| recent.high_since(self.hearing.known))
        else {
            return;
        };
        paper.observe(high);
        self.hearing.forget();
    }

    /// Watches what its rules say from now on; on ticks that it has not decided on yet as well.
    pub(super) fn rewatch(&mut self) {
        let since = match self.hand {
            Hand::Paper(_) => Since::Word,
            Hand::Live(_) => Since::WordAfter(self.hearing.known),
        };
        self.rewatch_since(since);
    }

    /// Likewise, after more was bought by hand on paper: what was traded before that counts for nothing.
    pub(super) fn rewatch_from_here(&mut self) {
        self.hearing.forget();
        self.rewatch_since(Since::WordAfter(self.hearing.known));
    }

    pub(super) fn rewatch_since(&mut self, since: Since) {
        match self.place {
            Some(place) => deliver(&self.feed, Rewatch { place, watch: self.watch(), since }),
            None => self.is_watch_outdated = true,
        }
        self.show_stop();
        self.set_alarm();
    }

    /// Publishes where what trails stands, a stop or a take profit, so that its trade can be shown with it.
    pub(super) fn show_stop(&mut self) {
        let (trail, stop) = self.hand.trails();
        if trail.is_none() && !self.hearing.is_shown {
            return;
        }
        self.hearing.is_shown = trail.is_some();
        let shown = trail.zip(self.hearing.recent.clone());
        let known = self.hearing.known;
        let shown = shown.map(|(trail, recent)| TrailingStop::new(stop, trail.high, recent, known));
        self.stops.set(self.id, shown);
    }

    /// Shows its stop no more.
    pub(super) fn hide_stop(&mut self) {
        if std::mem::take(&mut self.hearing.is_shown) {
            self.stops.set(self.id, None);
        }
    }
}
