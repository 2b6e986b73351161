//! The configuration: a TOML file, over it the environment, over that the flags (contract §1).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api::AccessConfig;
use engine::{Cidr, CidrError, MasterKey, MasterKeyError, Secret, StripeConfig};
use figment::providers::{Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use model::{Pct, Plans, Tier};
use serde::{Deserialize, Deserializer, de};

use crate::args::ConfigArgs;
use crate::known_keys;
use crate::log::LogFormat;

/// What was asked for makes no sense; the process answers 2.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl UsageError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Everything a server is told.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the API listens.
    #[serde(default = "default_listen", deserialize_with = "listen_on")]
    pub(crate) listen: SocketAddr,
    /// Where everything is stored.
    #[serde(default = "default_database_url")]
    pub(crate) database_url: String,
    /// Where bots trade.
    #[serde(default)]
    pub(crate) venues: Venues,
    /// How events are delivered.
    #[serde(default)]
    pub(crate) webhooks: Webhooks,
    /// How requests are counted and told apart.
    #[serde(default)]
    pub(crate) api: Api,
    /// Where counters are shown.
    #[serde(default)]
    pub(crate) metrics: ShownMetrics,
    /// How the log looks.
    #[serde(default)]
    pub(crate) log: Log,
    /// What was agreed on with Stripe.
    #[serde(default)]
    pub(crate) stripe: Stripe,
    /// The public addresses that this server is seen from, a list or a text such as `203.0.113.10,203.0.113.11`: what
    /// exchange keys are to be bound to.
    #[serde(default, deserialize_with = "addresses")]
    pub(crate) egress_addresses: Vec<IpAddr>,
    /// What stored secrets are sealed with: 64 hex digits, or base64 of 32 bytes.
    #[serde(default, deserialize_with = "master_key")]
    pub(crate) master_key: Option<MasterKey>,
}

/// The venues' addresses and costs.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Venues {
    /// Binance spot, or what speaks like it.
    #[serde(default)]
    pub(crate) binance: Binance,
}

/// Binance's addresses (bases without path, but `ws_api_url` whole), its taker fee and what paper orders lose to the
/// book, both in percent.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Binance {
    pub(crate) rest_url: String,
    pub(crate) stream_url: String,
    pub(crate) ws_api_url: String,
    #[serde(deserialize_with = "percent")]
    pub(crate) taker_fee: Pct,
    #[serde(deserialize_with = "percent")]
    pub(crate) slippage: Pct,
    /// How many seconds after an order was decided the venue's word that it does not know it can be a proof. Its
    /// queries have been seen to lag by a minute: less is for tests.
    #[serde(deserialize_with = "seconds")]
    pub(crate) absent_after_s: u64,
}

impl Default for Binance {
    fn default() -> Self {
        Self {
            rest_url: "https://api.binance.com".to_owned(),
            stream_url: "wss://stream.binance.com:9443".to_owned(),
            ws_api_url: "wss://ws-api.binance.com:443/ws-api/v3".to_owned(),
            taker_fee: "0.1".parse().expect("a constant"),
            slippage: Pct::ZERO,
            absent_after_s: 75,
        }
    }
}

/// How events are delivered.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhooks {
    /// Whether endpoints on this machine are allowed: for development.
    #[serde(deserialize_with = "yes_or_no")]
    pub(crate) allow_loopback: bool,
    /// The ports that endpoints may listen on, instead of 443 and 8443: a list, or a text such as `443,9443`.
    #[serde(deserialize_with = "ports")]
    pub(crate) ports: Vec<u16>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { allow_loopback: false, ports: engine::WEBHOOK_PORTS.to_vec() }
    }
}

/// Where counters are shown.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ShownMetrics {
    /// The address of `/metrics`; without it the path stands beside all others where those are on loopback, for what no
    /// proxy forwards, and nowhere else.
    #[serde(deserialize_with = "may_listen_on")]
    pub(crate) listen: Option<SocketAddr>,
}

/// How the log looks; what it tells is said by `--log` or `BOTPRIMEX_LOG`.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `text`, or `json`: an object a line.
    pub(crate) format: LogFormat,
}

/// How requests are counted and told apart.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Api {
    /// How many requests a minute each plan allows a key.
    plan_limits: RequestLimits,
    /// How many seconds such a minute has: other than 60 for tests alone.
    #[serde(deserialize_with = "some_whole_number")]
    limit_window_s: Option<u64>,
    /// The proxy in front of the server, an address or a network: of what comes from there, the last address in
    /// `X-Forwarded-For` is the client's.
    #[serde(deserialize_with = "network")]
    trusted_proxy: Option<Cidr>,
    /// How many connections a client may hold open; this machine and the trusted proxy are not counted.
    #[serde(deserialize_with = "some_whole_number")]
    max_connections_per_ip: Option<u64>,
}

/// Requests a minute of each key, by plan.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
struct RequestLimits {
    #[serde(deserialize_with = "some_whole_number")]
    standard: Option<u64>,
    #[serde(deserialize_with = "some_whole_number")]
    pro: Option<u64>,
    #[serde(deserialize_with = "some_whole_number")]
    enterprise: Option<u64>,
}

/// What was agreed on with Stripe.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stripe {
    /// What Stripe signs with, `whsec_…`; without it nothing is taken from there.
    #[serde(deserialize_with = "secret")]
    webhook_secret: Option<Secret>,
    /// The plan behind a price, by the price's id or lookup key.
    plans: BTreeMap<String, Tier>,
}

impl Stripe {
    /// What the engine is told of this.
    pub(crate) fn config(&self) -> Option<StripeConfig> {
        let plans = self.plans.iter().map(|(price, plan)| (price.to_lowercase(), *plan)).collect();
        let webhook_secret = self.webhook_secret.clone()?;
        Some(StripeConfig { webhook_secret, plans })
    }
}

impl Api {
    /// What every plan allows.
    pub(crate) fn plans(&self) -> Plans {
        let mut plans = Plans::default();
        let RequestLimits { standard, pro, enterprise } = self.plan_limits;
        for (plan, limit) in
            [(&mut plans.standard, standard), (&mut plans.pro, pro), (&mut plans.enterprise, enterprise)]
        {
            if let Some(limit) = limit {
                plan.requests_per_minute = u32::try_from(limit).unwrap_or(u32::MAX);
            }
        }
        plans
    }

    /// What the facade is told of this.
    pub(crate) fn access(&self) -> AccessConfig {
        let limit_window =
            self.limit_window_s.map_or(AccessConfig::default().limit_window, Duration::from_secs);
        let most = self.max_connections_per_ip.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        AccessConfig {
            limit_window,
            trusted_proxy: self.trusted_proxy,
            max_connections_per_ip: most.unwrap_or(AccessConfig::default().max_connections_per_ip),
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_database_url() -> String {
    "sqlite://botprimex.db".to_owned()
}

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key and where it was read, when one is unknown or makes no sense.
    pub(crate) fn load(args: &ConfigArgs, listen: Option<SocketAddr>) -> Result<Self, UsageError> {
        Self::from_sources(
            args,
            listen,
            std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    fn from_sources(
        args: &ConfigArgs,
        listen: Option<SocketAddr>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, UsageError> {
        let mut figment = Figment::new();
        if let Some(path) = &args.config {
            let text = std::fs::read_to_string(path)
                .map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?;
            figment = figment.merge(Toml::string(&text));
        }
        figment = figment.merge(Environment(environment.collect()));
        if let Some(url) = &args.database_url {
            figment = figment.merge(Serialized::default("database_url", url));
        }
        if let Some(listen) = listen {
            figment = figment.merge(Serialized::default("listen", listen));
        }
        figment.extract().map_err(|error| {
            let why = known_keys::unknown(&error, &figment).unwrap_or_else(|| unquoted(&error.to_string()));
            UsageError(format!("in the configuration: {why}"))
        })
    }
}

/// A message without the lines that quote the file: a master key may stand there.
fn unquoted(message: &str) -> String {
    let is_quote =
        |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    message.lines().filter(|line| !is_quote(line)).collect::<Vec<_>>().join(" ")
}

/// `BOTPRIMEX_A__B=x` is the key `a.b`; `DATABASE_URL` is understood too, below it. Values stay text, so that a key
/// made of digits keeps its zeros and a fee its decimals.
struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Variables under the same prefix that are no configuration.
    const OTHERS: [&'static str; 3] = ["LOG", "SHARED", "TEST_POSTGRES_URL"];
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment (BOTPRIMEX_…, DATABASE_URL)")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut dict = Dict::new();
        if let Some(url) = self.0.get("DATABASE_URL") {
            dict.insert("database_url".to_owned(), Value::from(url.as_str()));
        }
        for (key, value) in &self.0 {
            let Some(key) = key.strip_prefix("BOTPRIMEX_") else { continue };
            if Self::OTHERS.contains(&key) {
                continue;
            }
            let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
            insert(&mut dict, &path, value);
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

fn insert(dict: &mut Dict, path: &[String], value: &str) {
    match path {
        [] => {}
        [last] => {
            dict.insert(last.clone(), Value::from(value));
        }
        [first, rest @ ..] => {
            let mut inner = match dict.remove(first) {
                Some(Value::Dict(_, inner)) => inner,
                _ => Dict::new(),
            };
            insert(&mut inner, rest, value);
            dict.insert(first.clone(), Value::from(inner));
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// What was written; nothing that is a number where it is none.
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => number.to_string(),
            Self::Float(_) | Self::Bool(_) => String::new(),
        }
    }
}

fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pct, D::Error> {
    let text = match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text,
        Scalar::Integer(number) => number.to_string(),
        // The shortest text that means this float is what stands in the file.
        Scalar::Float(number) => number.to_string(),
        Scalar::Bool(_) => return Err(de::Error::custom("a percentage such as 0.1 is wanted")),
    };
    let pct: Pct = text.parse().map_err(de::Error::custom)?;
    if pct.decimal().is_sign_negative() || pct.decimal() >= rust_decimal::Decimal::ONE_HUNDRED {
        return Err(de::Error::custom("a percentage from 0 to below 100 is wanted"));
    }
    Ok(pct)
}

fn some_whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text,
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(_) | Scalar::Bool(_) => String::new(),
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| de::Error::custom("a whole number of at least 1 is wanted"))
}

fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cidr>, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text.parse().map(Some).map_err(de::Error::custom),
        _ => Err(de::Error::custom(CidrError)),
    }
}

/// A list, or a text with commas, of what is parsed so; at least one.
fn list<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Option<T>,
    wanted: &str,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        List(Vec<Scalar>),
        One(Scalar),
    }
    let texts: Vec<String> = match Given::deserialize(deserializer)? {
        Given::List(list) => list.into_iter().map(Scalar::text).collect(),
        Given::One(one) => one.text().split(',').map(|part| part.trim().to_owned()).collect(),
    };
    let parsed: Option<Vec<T>> = texts.iter().map(|text| parse(text)).collect();
    parsed.filter(|parsed| !parsed.is_empty()).ok_or_else(|| de::Error::custom(wanted))
}

fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    list(deserializer, port, "ports from 1 to 65535 are wanted, such as [443, 8443]")
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let address = |text: &str| text.parse().ok();
    list(deserializer, address, "addresses are wanted, such as [\"203.0.113.10\"]")
}

fn listen_on<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    crate::args::listen(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn may_listen_on<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    listen_on(deserializer).map(Some)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text,
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(_) | Scalar::Bool(_) => String::new(),
    };
    text.parse().map_err(|_| de::Error::custom("a whole number of seconds is wanted"))
}

fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Bool(value) => Ok(value),
        Scalar::Text(text) if matches!(text.as_str(), "true" | "1" | "yes" | "on") => Ok(true),
        Scalar::Text(text) if matches!(text.as_str(), "false" | "0" | "no" | "off" | "") => Ok(false),
        _ => Err(de::Error::custom("true or false is wanted")),
    }
}

/// A text that is never repeated.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) if !text.is_empty() => Ok(Some(Secret::new(text))),
        _ => Err(de::Error::custom("a text is wanted")),
    }
}

/// What was given is never repeated.
fn master_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MasterKey>, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => MasterKey::parse(&text).map(Some).map_err(de::Error::custom),
        _ => Err(de::Error::custom(MasterKeyError::Malformed)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Digits alone, of which none may be lost.
    const KEY: &str = "0012345678901357902468013579246801122334455667788990019283746501";

    fn load(toml: &str, environment: &[(&str, &str)], database_url: Option<&str>) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        let args = ConfigArgs {
            config: Some(file.path().to_owned()),
            database_url: database_url.map(str::to_owned),
        };
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::from_sources(&args, None, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        let config =
            load("", &[("PATH", "/bin"), ("BOTPRIMEX_SHARED", "/x"), ("BOTPRIMEX_LOG", "x")], None).unwrap();
        assert_eq!(config.listen, default_listen());
        let named =
            load("metrics.listen = \"localhost:9000\"", &[("BOTPRIMEX_LISTEN", "localhost:8080")], None);
        let named = named.unwrap();
        assert_eq!((named.listen, named.metrics.listen), (default_listen(), "127.0.0.1:9000".parse().ok()));
        assert_eq!(config.database_url, "sqlite://botprimex.db");
        assert!(!config.webhooks.allow_loopback);
        assert_eq!(config.venues.binance.taker_fee, "0.1".parse().unwrap());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "database_url = \"sqlite://file\"\n[venues.binance]\nrest_url = \"http://file\"\nstream_url = \"ws://file\"\ntaker_fee = 0.075\n";
        let environment = [
            ("DATABASE_URL", "sqlite://plain"),
            ("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://env"),
            ("BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK", "true"),
            ("BOTPRIMEX_API__PLAN_LIMITS__STANDARD", "20"),
            ("BOTPRIMEX_API__TRUSTED_PROXY", "10.0.0.0/8"),
            ("BOTPRIMEX_MASTER_KEY", KEY),
        ];
        let config = load(file, &environment, None).unwrap();
        assert_eq!(config.database_url, "sqlite://plain");
        assert_eq!(config.venues.binance.rest_url, "http://env");
        assert_eq!(config.venues.binance.stream_url, "ws://file");
        assert_eq!(config.venues.binance.taker_fee, "0.075".parse().unwrap());
        assert!(config.webhooks.allow_loopback);
        assert!(config.master_key.is_some());
        let plans = config.api.plans();
        assert_eq!((plans.standard.requests_per_minute, plans.pro.requests_per_minute), (20, 300));
        assert_eq!(config.api.access().trusted_proxy, "10.0.0.0/8".parse().ok());
        let config = load(file, &environment, Some("sqlite://flag")).unwrap();
        assert_eq!(config.database_url, "sqlite://flag");
    }

    #[test]
    fn a_master_key_that_will_not_do_is_refused_and_not_repeated() {
        let unquoted = format!("master_key = {KEY}\n");
        for (file, value) in [("", "0012"), ("", &KEY[2..]), ("master_key = 4711", ""), (&unquoted, "")] {
            let environment = [("BOTPRIMEX_MASTER_KEY", value)];
            let error = load(file, if value.is_empty() { &[] } else { &environment }, None).err().unwrap();
            assert!(error.contains("master_key") || error.contains("line 1"), "{error}");
            assert!(
                !error.contains(&KEY[2..20]) && !error.contains("0012") && !error.contains("4711"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        for (file, variable, wrong, nearest) in [
            ("databse_url = \"x\"", "", "databse_url", "database_url"),
            ("[venues.binance]\nrest_uri = \"x\"", "", "venues.binance.rest_uri", "venues.binance.rest_url"),
            (
                "",
                "BOTPRIMEX_VENUES__BINANCE__REST",
                "BOTPRIMEX_VENUES__BINANCE__REST",
                "BOTPRIMEX_VENUES__BINANCE__REST_URL",
            ),
            ("", "BOTPRIMEX_WEBHOOK__ALLOW_LOOPBACK", "webhook", "BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK"),
            ("", "BOTPRIMEX_LOGS", "BOTPRIMEX_LOGS", "BOTPRIMEX_LOG"),
            ("", "BOTPRIMEX_MASTERKEY", "BOTPRIMEX_MASTERKEY", "BOTPRIMEX_MASTER_KEY"),
        ] {
            let environment = [(variable, "x")];
            let environment = if variable.is_empty() { &[][..] } else { &environment };
            let error = load(file, environment, None).err().unwrap();
            let (told, suggested) = error.split_once("the nearest is").expect(&error);
            assert!(told.contains(wrong) && suggested.contains(nearest), "{error}");
        }
    }

    #[test]
    fn every_key_that_there_is_may_be_suggested() {
        for level in [
            "",
            "venues.",
            "venues.binance.",
            "webhooks.",
            "api.",
            "api.plan_limits.",
            "metrics.",
            "log.",
            "stripe.",
        ] {
            let variable = format!("BOTPRIMEX_{}ZZZ", level.replace('.', "__").to_uppercase());
            let error = Figment::new().merge(Environment(BTreeMap::from([(variable, "x".to_owned())])));
            let error = error.extract::<Config>().err().unwrap();
            let figment::error::Kind::UnknownField(_, known) = &error.kind else { panic!("{error}") };
            for key in *known {
                let path = format!("{level}{key}");
                assert!(known_keys::is_known(&path), "{path} is no key to suggest");
            }
        }
    }

    #[test]
    fn egress_addresses_are_a_list_or_a_text() {
        let of = |file: &str, environment: &[(&str, &str)]| {
            load(file, environment, None)
                .unwrap()
                .egress_addresses
                .iter()
                .map(IpAddr::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("", &[]), [""; 0]);
        assert_eq!(
            of("egress_addresses = [\"203.0.113.10\", \"2001:db8::1\"]", &[]),
            ["203.0.113.10", "2001:db8::1"]
        );
        assert_eq!(
            of("", &[("BOTPRIMEX_EGRESS_ADDRESSES", "203.0.113.10, 2001:db8::1")]),
            ["203.0.113.10", "2001:db8::1"]
        );
        let told = load("egress_addresses = [\"203.0.113\"]", &[], None).err().unwrap();
        assert!(told.contains("egress_addresses") && told.contains("addresses are wanted"), "{told}");
    }

    #[test]
    fn the_ports_of_webhooks_are_a_list_or_a_text() {
        let of =
            |file: &str, environment: &[(&str, &str)]| load(file, environment, None).unwrap().webhooks.ports;
        assert_eq!(of("", &[]), [443, 8443]);
        assert_eq!(of("[webhooks]\nports = [443, \"9443\"]", &[]), [443, 9443]);
        assert_eq!(of("", &[("BOTPRIMEX_WEBHOOKS__PORTS", "443, 10443")]), [443, 10443]);
        assert_eq!(of("[webhooks]\nports = [443]", &[("BOTPRIMEX_WEBHOOKS__PORTS", "8443")]), [8443]);
        for wrong in ["", "0", "443,", "65536", "https", "-1", "4.5"] {
            let told = load("", &[("BOTPRIMEX_WEBHOOKS__PORTS", wrong)], None).err().unwrap();
            assert!(told.contains("webhooks.ports") && told.contains("from 1 to 65535"), "{wrong}: {told}");
        }
        assert!(load("[webhooks]\nports = []", &[], None).is_err());
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused() {
        for environment in [
            ("BOTPRIMEX_LISTEN", "nowhere"),
            ("BOTPRIMEX_VENUES__BINANCE__TAKER_FEE", "much"),
            ("BOTPRIMEX_VENUES__BINANCE__TAKER_FEE", "-1"),
            ("BOTPRIMEX_VENUES__BINANCE__TAKER_FEE", "100"),
            ("BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK", "maybe"),
            ("BOTPRIMEX_API__PLAN_LIMITS__PRO", "0"),
            ("BOTPRIMEX_API__TRUSTED_PROXY", "10.0.0.0/33"),
        ] {
            assert!(load("", &[environment], None).is_err(), "{environment:?}");
        }
    }
}
