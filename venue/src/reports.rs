//! How an account's events reach one listener: in order and once, unless the dice drop, repeat or delay a report.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::config::Faults;
use crate::fault::Dice;

/// The longest that a report is held back.
const HELD: Duration = Duration::from_millis(200);

/// How many reports may overtake a held one.
const OVERTAKEN: u64 = 3;

/// How often a report is told again, at most.
const COPIES: u64 = 3;

/// When the last of them comes, in ms.
const LAST_COPY_MS: u64 = 2_000;

/// A report that is told later.
#[derive(Debug)]
struct Held {
    report: Value,
    due: Instant,
    /// After how many other reports it is told even before it is due.
    after: Option<u64>,
}

/// One listener's reports on their way.
#[derive(Debug)]
pub(crate) struct Courier {
    dice: Arc<Dice>,
    faults: Faults,
    held: Vec<Held>,
}

impl Courier {
    pub(crate) const fn new(dice: Arc<Dice>, faults: Faults) -> Self {
        Self { dice, faults, held: Vec::new() }
    }

    /// Carries events until nobody makes them any more, or `tell` says that nobody hears them.
    pub(crate) async fn carry(
        mut self,
        mut events: UnboundedReceiver<Value>,
        mut tell: impl FnMut(Value) -> bool,
    ) {
        loop {
            let next = self.held.iter().map(|held| held.due).min();
            let told = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event, Instant::now()),
                    None => return,
                },
                () = crate::clock::until(next) => self.flush(Instant::now()),
            };
            for event in told {
                if !tell(event) {
                    return;
                }
            }
        }
    }

    /// An event comes; what is told now.
    fn take(&mut self, event: Value, now: Instant) -> Vec<Value> {
        if event.get("e").and_then(Value::as_str) != Some("executionReport") {
            return vec![event];
        }
        if self.dice.happens("reportsDropped", self.faults.drop_report_rate) {
            return Vec::new();
        }
        if self.dice.happens("reportsHeldBack", self.faults.reorder_rate) {
            let after = Some(self.dice.between(1, OVERTAKEN));
            self.held.push(Held { report: event, due: now + HELD, after });
            return Vec::new();
        }
        let mut told = vec![event.clone()];
        if self.dice.happens("reportsRepeated", self.faults.duplicate_rate) {
            for _ in 0..self.dice.between(1, COPIES) {
                if self.dice.between(0, 1) == 0 {
                    told.push(event.clone());
                } else {
                    let late = Duration::from_millis(self.dice.between(1, LAST_COPY_MS));
                    self.held.push(Held { report: event.clone(), due: now + late, after: None });
                }
            }
        }
        for held in &mut self.held {
            held.after = held.after.map(|after| after.saturating_sub(1));
        }
        told.extend(self.release(|held| held.after == Some(0)));
        told
    }

    /// What is due.
    fn flush(&mut self, now: Instant) -> Vec<Value> {
        self.release(|held| held.due <= now)
    }

    fn release(&mut self, is_due: impl Fn(&Held) -> bool) -> Vec<Value> {
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(is_due);
        self.held = held;
        let due: Vec<Held> = due;
        due.into_iter().map(|held| held.report).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn carried(faults: Faults) -> Vec<i64> {
        let mut courier = Courier::new(Arc::new(Dice::new(1)), faults);
        let begin = Instant::now();
        let mut told = Vec::new();
        for number in 0..100 {
            told.extend(courier.take(json!({"e": "executionReport", "I": number}), begin));
        }
        told.extend(courier.flush(begin + HELD));
        let on_time = told.len();
        told.extend(courier.flush(begin + Duration::from_millis(LAST_COPY_MS)));
        let numbers: Vec<i64> = told.iter().filter_map(|report| report["I"].as_i64()).collect();
        // Whatever comes after the held ones is a copy.
        assert!(numbers[on_time..].iter().all(|number| numbers[..on_time].contains(number)));
        assert!(courier.held.is_empty());
        numbers
    }

    #[test]
    fn without_faults_reports_come_once_and_in_order() {
        assert_eq!(carried(Faults::default()), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_held_report_is_overtaken_by_few_and_never_lost() {
        let told = carried(Faults { reorder_rate: 0.3, ..Faults::default() });
        let mut sorted = told.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(told, sorted);
    }

    #[test]
    fn a_repeated_report_comes_up_to_three_times_more() {
        let told = carried(Faults { duplicate_rate: 0.5, ..Faults::default() });
        let count = |number: i64| told.iter().filter(|told| **told == number).count();
        assert!((0..100).all(|number| (1..=4).contains(&count(number))));
        assert!((0..100).any(|number| count(number) == 4), "{told:?}");
    }

    #[test]
    fn a_dropped_report_never_comes_and_balances_always_do() {
        let faults = Faults { drop_report_rate: 1.0, ..Faults::default() };
        assert!(carried(faults.clone()).is_empty());
        let mut courier = Courier::new(Arc::new(Dice::new(1)), faults);
        assert_eq!(courier.take(json!({"e": "outboundAccountPosition"}), Instant::now()).len(), 1);
    }
}
