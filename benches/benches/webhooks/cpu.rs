//! What each thread of this process has spent, by the kernel's own count.

use std::collections::BTreeMap;
use std::time::Duration;

use super::receiver::THREAD;

/// What threads have spent, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent(BTreeMap<String, Duration>);

impl Spent {
    /// So far.
    pub(crate) fn now() -> Self {
        let mut spent = BTreeMap::<String, Duration>::new();
        let own = std::process::id().to_string();
        for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let name =
                if task.file_name().to_str() == Some(&own) { "bench".to_owned() } else { read("comm") };
            let nanos = read("schedstat").split(' ').next().and_then(|text| text.parse().ok());
            *spent.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanos.unwrap_or(0));
        }
        Self(spent)
    }

    /// By whom since then, without this benchmark's own loop and the receiver.
    pub(crate) fn of_server_since(&self, before: &Self) -> BTreeMap<String, Duration> {
        let since = |(name, spent): (&String, &Duration)| {
            let spent = spent.saturating_sub(before.0.get(name).copied().unwrap_or_default());
            (name.clone(), spent)
        };
        let is_server = |(name, _): &(&String, &Duration)| !["bench", THREAD].contains(&name.as_str());
        self.0.iter().filter(is_server).map(since).collect()
    }
}
