//! What keeps a live bot from what it is to do. Each cause is reported once while it lasts, and once more when it is
//! over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LiveBot, LiveStep};

/// How many causes of one code are told apart until it is over: the venue's words may hold numbers.
const MOST_CAUSES: usize = 4;

/// The troubles that last: by their code, the causes that were reported.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Troubles(BTreeMap<Box<str>, Vec<Box<str>>>);

impl Troubles {
    /// Notes a cause; whether it is to be reported.
    fn begin(&mut self, code: &str, cause: &str) -> bool {
        let causes = self.0.entry(code.into()).or_default();
        let is_news = causes.len() < MOST_CAUSES && causes.iter().all(|known| **known != *cause);
        if is_news {
            causes.push(cause.into());
        }
        is_news
    }

    /// Notes that none of a code's causes lasts; whether one did.
    pub(super) fn end(&mut self, code: &str) -> bool {
        self.0.remove(code).is_some()
    }

    /// Notes that a cause does not last any more; whether it was the last one of its code.
    fn end_cause(&mut self, code: &str, cause: &str) -> bool {
        let Some(causes) = self.0.get_mut(code) else { return false };
        causes.retain(|known| **known != *cause);
        causes.is_empty() && self.end(code)
    }

    /// Forgets all of them: what lasts is reported anew.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether a code's cause lasts.
    pub(super) fn has(&self, code: &str) -> bool {
        self.0.contains_key(code)
    }
}

impl LiveBot {
    /// Reports what keeps it from something, once for each cause while it lasts.
    pub fn report_trouble(
        &mut self,
        code: &'static str,
        cause: &str,
        message: impl FnOnce() -> String,
        steps: &mut Vec<LiveStep>,
    ) {
        if self.troubles.begin(code, cause) {
            steps.push(LiveStep::Told { code, message: message() });
        }
    }

    /// Reports that a trouble is over, where it was reported.
    pub(super) fn resolve(&mut self, code: &'static str, message: &str, steps: &mut Vec<LiveStep>) {
        if self.troubles.end(code) {
            steps.push(LiveStep::Resolved { code, message: message.to_owned() });
        }
    }

    /// Reports that a trouble is over once this was the last of its causes.
    pub(super) fn resolve_cause(
        &mut self,
        code: &'static str,
        cause: &str,
        message: &str,
        steps: &mut Vec<LiveStep>,
    ) {
        if self.troubles.end_cause(code, cause) {
            steps.push(LiveStep::Resolved { code, message: message.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_news_once_until_it_is_over() {
        let mut troubles = Troubles::default();
        assert!(troubles.begin("exit_refused", "closed") && !troubles.begin("exit_refused", "closed"));
        assert!(troubles.begin("exit_refused", "no coins"));
        assert!(
            !troubles.end_cause("exit_refused", "closed") && troubles.end_cause("exit_refused", "no coins")
        );
        assert!(!troubles.has("exit_refused") && !troubles.end("exit_refused"));
        assert!(troubles.begin("exit_refused", "closed") && troubles.end("exit_refused"));
        let reported = (0..100).filter(|number| troubles.begin("entry_refused", &number.to_string())).count();
        assert_eq!(reported, MOST_CAUSES);
    }
}
