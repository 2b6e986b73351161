//! The configuration's keys, and which of them an unknown one was probably meant to be.

use figment::Figment;
use figment::error::Kind;
use figment::value::Value;

/// Every key, by its path. What follows `stripe.plans` is named by its owner.
const KEYS: [&str; 20] = [
    "listen",
    "database_url",
    "egress_addresses",
    "master_key",
    "venues.binance.rest_url",
    "venues.binance.stream_url",
    "venues.binance.ws_api_url",
    "venues.binance.taker_fee",
    "venues.binance.slippage",
    "venues.binance.absent_after_s",
    "webhooks.allow_loopback",
    "webhooks.ports",
    "api.plan_limits.standard",
    "api.plan_limits.pro",
    "api.plan_limits.enterprise",
    "api.limit_window_s",
    "api.trusted_proxy",
    "api.max_connections_per_ip",
    "metrics.listen",
    "log.format",
];

/// Keys of which not all of the path is known beforehand, and variables that are no configuration.
const OTHERS: [(&str, &str); 3] =
    [("stripe.webhook_secret", ""), ("stripe.plans", ""), ("log", "BOTPRIMEX_LOG")];

/// What a wrong configuration's error says of the keys that are not known, with the nearest ones that are.
pub(crate) fn unknown(error: &figment::Error, given: &Figment) -> Option<String> {
    let told = error.clone().into_iter().filter_map(|error| {
        let Kind::UnknownField(name, _) = &error.kind else { return None };
        let path = if error.path.last() == Some(name) {
            error.path.join(".")
        } else {
            error.path.iter().map(String::as_str).chain([name.as_str()]).collect::<Vec<_>>().join(".")
        };
        // Of a section the whole key was given, which tells more.
        let path = whole(path, given);
        let (key, variable) = nearest(&path);
        Some(format!("`{path}` ({}) is not known; the nearest is `{key}` ({variable})", variable_of(&path)))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// A path of which what was given has more, with the first key under it.
fn whole(mut path: String, given: &Figment) -> String {
    while let Ok(Value::Dict(_, section)) = given.find_value(&path) {
        let Some(first) = section.keys().next() else { break };
        path = format!("{path}.{first}");
    }
    path
}

/// The key that is nearest to a path, with its environment variable.
fn nearest(path: &str) -> (&'static str, String) {
    let named = OTHERS.iter().map(|(key, variable)| {
        let variable = if variable.is_empty() { variable_of(key) } else { (*variable).to_owned() };
        (*key, variable)
    });
    let all = KEYS.iter().map(|key| (*key, variable_of(key))).chain(named);
    // What was meant may stand deeper: a last part alone, or a path that lacks its beginning.
    let distance = |key: &str| {
        let parts: Vec<&str> = key.split('.').collect();
        let ends = (0..parts.len()).filter_map(|from| Some(parts.get(from..)?.join(".")));
        ends.map(|end| (edit_distance(path, &end), key.len() - end.len())).min()
    };
    all.min_by_key(|(key, _)| distance(key)).unwrap_or(("listen", variable_of("listen")))
}

/// Whether a path is a key, or keys lie under it.
#[cfg(test)]
pub(crate) fn is_known(path: &str) -> bool {
    let keys = KEYS.iter().copied().chain(OTHERS.iter().map(|(key, _)| *key));
    keys.into_iter().any(|key| key == path || key.starts_with(&format!("{path}.")))
}

/// How a key is spelled in the environment.
fn variable_of(path: &str) -> String {
    format!("BOTPRIMEX_{}", path.replace('.', "__").to_uppercase())
}

/// How many characters have to be put in, left out or changed to make one text of the other (Levenshtein).
fn edit_distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, from) in one.chars().enumerate() {
        let mut next = vec![line + 1];
        for ((to, above), diagonal) in other.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((above + 1).min(left + 1).min(diagonal + usize::from(from != *to)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_texts_is_what_has_to_be_changed() {
        for (one, other, expected) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("rest_uri", "rest_url", 1)]
        {
            assert_eq!(edit_distance(one, other), expected, "{one} {other}");
            assert_eq!(edit_distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_nearest_key_is_found_at_any_depth() {
        for (path, expected) in [
            ("databse_url", "database_url"),
            ("venues.binance.rest", "venues.binance.rest_url"),
            ("venues.binnance", "venues.binance.slippage"),
            ("webhook.allow_loopback", "webhooks.allow_loopback"),
            ("taker_fee", "venues.binance.taker_fee"),
            ("binance.stream_url", "venues.binance.stream_url"),
            ("logs", "log"),
            ("masterkey", "master_key"),
            ("api.plan_limits.standart", "api.plan_limits.standard"),
        ] {
            let (key, _) = nearest(path);
            if path == "venues.binnance" {
                assert!(key.starts_with("venues.binance."), "{key}");
            } else {
                assert_eq!(key, expected, "{path}");
            }
        }
    }
}
