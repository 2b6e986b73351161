//! A request body to a [`BotDefinition`]: every fault is found in one pass and told together.

use model::{Exchange, Faults, Pct};
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::BotDefinition;
use super::reader::{Fields, Reader, above_zero_below_hundred, decimal, one_of, stake, typed, whole};
use crate::strategy::StrategyDefinition;

impl BotDefinition {
    /// Parses the fields of a request body.
    ///
    /// # Errors
    /// Every bad field: missing, unknown, of the wrong type, out of range.
    pub fn parse(fields: &Fields) -> Result<Self, Faults> {
        let mut body = Reader::new(fields, "");
        let name = body.required("name", name);
        let exchange = body.required("exchange", exchange);
        let pair = body.required("pair", pair);
        let strategy = body.required("strategy", |raw| one_of(raw, &StrategyDefinition::NAMES));
        let stake_amount = body.required("stake_amount", stake);
        let max_open_trades = body.required("max_open_trades", |raw| whole(raw, 1, 100));
        let stop_loss = body.required_or_null("stop_loss", stop_loss);
        let dry_run = body.required("dry_run", |raw| typed::<bool>(raw, "true or false"));
        let stop_loss_basis = body.optional("stop_loss_basis", |raw| {
            one_of(raw, &["average", "base_order"])?;
            typed(raw, "average or base_order")
        });
        let has_no_take_profit = body.is_null("take_profit");
        let take_profit = body.optional("take_profit", take_profit);
        let default_take_profit = Pct::new(Decimal::TWO).ok().filter(|_| !has_no_take_profit);
        let trailing_take_profit = body.optional("trailing_take_profit", |raw| {
            let distance = trailing(raw)?;
            let wanted = "possible without a take_profit: it trails from there; set both to null or neither";
            if has_no_take_profit { Err(wanted.to_owned()) } else { Ok(distance) }
        });
        let trailing_stop = body.optional("trailing_stop", trailing);
        let exchange_id = body.optional("exchange_id", |raw| typed(raw, "the id of an exchange connection"));
        let stop_on_venue = body.optional("stop_on_venue", |raw| typed(raw, "true or false"));
        // A strategy's object stands beside no other strategy; beside none that is known it is still looked into.
        let mut objects =
            StrategyDefinition::NAMES.into_iter().filter(|name| strategy.is_none_or(|it| it == *name));
        let object =
            objects.find_map(|name| Some((name, body.optional(name, |raw| typed(raw, "an object"))?)));
        let mut faults = body.finish();
        let decided = strategy.or(object.as_ref().map(|(name, _)| *name)).and_then(|name| {
            let fields: Option<&Fields> = object.as_ref().map(|(_, fields)| fields);
            StrategyDefinition::parse(name, fields, stake_amount, &mut faults)
        });

        let complete = (|| {
            Some(Self {
                name: name?,
                exchange: exchange?,
                pair: pair?,
                strategy: decided?,
                stake_amount: stake_amount?,
                max_open_trades: max_open_trades?,
                stop_loss,
                stop_loss_basis: stop_loss_basis.unwrap_or_default(),
                take_profit: take_profit.or(default_take_profit),
                trailing_take_profit,
                trailing_stop,
                dry_run: dry_run?,
                exchange_id,
                // On paper as well, so that a bot that goes live later is not left without it.
                stop_on_venue: stop_on_venue.unwrap_or(true),
            })
        })();
        complete.filter(|_| faults.is_empty()).ok_or(Faults(faults))
    }
}

fn name(raw: &RawValue) -> Result<String, String> {
    let wanted = "a text of 1 to 100 characters without control characters";
    let name: String = typed(raw, wanted)?;
    let fits = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits && !name.trim().is_empty() { Ok(name) } else { Err(wanted.to_owned()) }
}

fn exchange(raw: &RawValue) -> Result<Exchange, String> {
    let known = Exchange::ALL.map(Exchange::as_str).join(", ");
    typed(raw, &format!("an exchange that bots can trade on: {known}"))
}

fn pair(raw: &RawValue) -> Result<model::Pair, String> {
    typed(raw, "a pair such as \"BTC/USDT\"")
}

fn stop_loss(raw: &RawValue) -> Result<Pct, String> {
    let value = decimal(raw)?;
    let fits = value < Decimal::ZERO && value > -Decimal::ONE_HUNDRED;
    let wanted = || "a percent below 0 and above -100, such as -10 for ten percent down".to_owned();
    if fits { Pct::new(value).map_err(|_| wanted()) } else { Err(wanted()) }
}

fn take_profit(raw: &RawValue) -> Result<Pct, String> {
    let value = decimal(raw)?;
    let fits = value >= Decimal::ZERO && value <= Decimal::from(100_000_u32);
    let wanted = || "a percent from 0 to 100000, such as 2".to_owned();
    if fits { Pct::new(value).map_err(|_| wanted()) } else { Err(wanted()) }
}

fn trailing(raw: &RawValue) -> Result<Pct, String> {
    above_zero_below_hundred(decimal(raw)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = r#"{"name":"BTC DCA Bot","exchange":"binance","pair":"BTC/USDT","strategy":"dca",
        "stake_amount":50,"max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;

    fn with(field: &str, value: Option<&str>) -> Result<BotDefinition, Faults> {
        let mut fields: Fields = serde_json::from_str(SEED).unwrap();
        match value {
            Some(json) => fields.insert(field.to_owned(), RawValue::from_string(json.to_owned()).unwrap()),
            None => fields.remove(field),
        };
        BotDefinition::parse(&fields)
    }

    #[track_caller]
    fn check_refused(field: &str, value: Option<&str>, param: &str, code: &str) {
        let faults = with(field, value).expect_err(&format!("{field} = {value:?}")).0;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].param.as_str(), faults[0].code), (param, code), "{value:?}");
    }

    #[test]
    fn the_published_example_works_and_shows_its_defaults() {
        let bot = with("name", Some("\"BTC DCA Bot\"")).unwrap();
        assert_eq!(
            bot.to_json().get(),
            r#"{"name":"BTC DCA Bot","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,"max_open_trades":5,"stop_loss":-10,"stop_loss_basis":"average","take_profit":2,"trailing_take_profit":null,"trailing_stop":null,"dry_run":true,"exchange_id":null,"stop_on_venue":true,"dca":{"safety_stake":50,"price_deviation":2,"step_scale":1,"volume_scale":1,"cooldown_s":0,"order_type":"market"}}"#
        );
        let again: Fields = serde_json::from_str(bot.to_json().get()).unwrap();
        assert_eq!(BotDefinition::parse(&again).unwrap(), bot);
    }

    #[test]
    fn every_required_field_is_asked_for() {
        for field in [
            "name",
            "exchange",
            "pair",
            "strategy",
            "stake_amount",
            "max_open_trades",
            "stop_loss",
            "dry_run",
        ] {
            check_refused(field, None, field, "parameter_missing");
            if field != "stop_loss" {
                check_refused(field, Some("null"), field, "parameter_missing");
            }
            check_refused(field, Some("{}"), field, "parameter_invalid");
            check_refused(field, Some("[1]"), field, "parameter_invalid");
        }
    }

    #[test]
    fn null_is_no_stop_and_no_take_profit_and_a_default_only_where_it_is_left_out() {
        let none = with("stop_loss", Some("null")).unwrap();
        assert_eq!((none.stop_loss, none.take_profit), (None, Pct::new(Decimal::TWO).ok()));
        let none = with("take_profit", Some("null")).unwrap();
        assert_eq!((none.take_profit, none.stop_loss.is_some()), (None, true));
        let again: Fields = serde_json::from_str(none.to_json().get()).unwrap();
        assert_eq!(BotDefinition::parse(&again).unwrap(), none);
        let mut fields = again;
        fields.insert("trailing_take_profit".to_owned(), RawValue::from_string("1".to_owned()).unwrap());
        let faults = BotDefinition::parse(&fields).unwrap_err().0;
        assert_eq!(faults[0].param, "trailing_take_profit");
    }

    #[test]
    fn a_number_in_a_string_is_written_as_the_document_says() {
        for value in ["+5", "5.", ".5", "1e2", "05", "-0", " 5", "5 ", "5.123456789", "0.500000000"] {
            let value = format!("\"{value}\"");
            let faults = with("stake_amount", Some(&value)).expect_err(&value).0;
            assert_eq!(faults[0].param, "stake_amount");
            assert!(faults[0].message.contains(&value), "{}", faults[0].message);
            check_refused("max_open_trades", Some(&value), "max_open_trades", "parameter_invalid");
        }
        for value in ["5", "5.0", "0.50", "12.50000000", "1000000000000"] {
            assert!(with("stake_amount", Some(&format!("\"{value}\""))).is_ok(), "{value}");
        }
        assert!(with("stake_amount", Some("1e2")).is_ok(), "a JSON number may have an exponent");
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let forty = "1".repeat(40);
        for field in
            ["stake_amount", "max_open_trades", "take_profit", "trailing_stop", "trailing_take_profit"]
        {
            for value in ["-1", "\"abc\"", "1e309", "true", "0.123456789", forty.as_str()] {
                check_refused(field, Some(value), field, "parameter_invalid");
            }
        }
        for value in ["0", "10", "-100", "-100.5", "\"\"", forty.as_str()] {
            check_refused("stop_loss", Some(value), "stop_loss", "parameter_invalid");
        }
        for (field, value) in [
            ("stake_amount", "0"),
            ("max_open_trades", "0"),
            ("max_open_trades", "101"),
            ("max_open_trades", "1.5"),
        ] {
            check_refused(field, Some(value), field, "parameter_invalid");
        }
    }

    #[test]
    fn fields_of_the_strategy_object_are_named_with_it() {
        for (object, param, code) in [
            (r#"{"step_scale":0}"#, "dca.step_scale", "parameter_invalid"),
            (r#"{"volume_scale":-1}"#, "dca.volume_scale", "parameter_invalid"),
            (r#"{"cooldown_s":1.5}"#, "dca.cooldown_s", "parameter_invalid"),
            (r#"{"order_type":"iceberg"}"#, "dca.order_type", "parameter_invalid"),
            (r#"{"price_deviation":0}"#, "dca.price_deviation", "parameter_invalid"),
            (r#"{"steps":3}"#, "dca.steps", "parameter_unknown"),
        ] {
            check_refused("dca", Some(object), param, code);
        }
        check_refused("dca", Some("7"), "dca", "parameter_invalid");
        check_refused("leverage", Some("7"), "leverage", "parameter_unknown");
    }

    #[test]
    fn what_only_a_live_bot_needs_is_kept_on_paper_too() {
        let id = "exc_0190f5fe7a2b7c3d8e4f5a6b7c8d9e0f";
        let bot = with("exchange_id", Some(&format!("\"{id}\""))).unwrap();
        assert_eq!(bot.exchange_id, id.parse().ok());
        for value in ["\"bot_0190f5fe7a2b7c3d8e4f5a6b7c8d9e0f\"", "\"exc_\"", "7", "true"] {
            check_refused("exchange_id", Some(value), "exchange_id", "parameter_invalid");
        }
        assert!(!with("stop_on_venue", Some("false")).unwrap().stop_on_venue);
        assert!(with("stop_on_venue", Some("null")).unwrap().stop_on_venue);
        check_refused("stop_on_venue", Some("\"yes\""), "stop_on_venue", "parameter_invalid");
    }

    #[test]
    fn all_faults_come_together() {
        let fields: Fields =
            serde_json::from_str(r#"{"name":"","stake_amount":-1,"colour":1,"dca":{"step_scale":0}}"#)
                .unwrap();
        let params: Vec<String> =
            BotDefinition::parse(&fields).unwrap_err().0.into_iter().map(|fault| fault.param).collect();
        for param in [
            "name",
            "exchange",
            "pair",
            "strategy",
            "stake_amount",
            "stop_loss",
            "dry_run",
            "colour",
            "dca.step_scale",
        ] {
            assert!(params.iter().any(|p| p == param), "{param} in {params:?}");
        }
    }
}
