//! What an account pays for trades of a pair.
//!
//! Source: the venue's `rest-api.md`, "Query Commission Rates", and its FAQ "Commission Rates", read 2026-11-30.

use model::Rate;
use rust_decimal::Decimal;
use serde::Deserialize;

/// An account's rates for one pair, as fractions of an order's worth.
///
/// Standard, special and tax rates are added up, and of what buyers and sellers pay besides, the larger. The discount for
/// fees paid in BNB is left out: it ends with the account's BNB, and a level that counts on it would leave less than was
/// promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commission {
    /// The symbol's rate for an order that rested.
    pub maker: Rate,
    /// The rate for an order that took what was there.
    pub taker: Rate,
}

/// The answer, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    symbol: String,
    standard_commission: Part,
    #[serde(default)]
    special_commission: Part,
    #[serde(default)]
    tax_commission: Part,
}

#[derive(Deserialize, Default)]
struct Part {
    #[serde(with = "rust_decimal::serde::str")]
    maker: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    taker: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    buyer: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    seller: Decimal,
}

/// Reads an answer about a pair, by its symbol at the venue.
///
/// # Errors
/// Where the body is not as documented, is about another pair, or its rates are none.
pub fn read_commission(body: &[u8], symbol: &str) -> Result<Commission, serde_json::Error> {
    use serde::de::Error as _;
    let row: Row = serde_json::from_slice(body)?;
    if row.symbol != symbol {
        return Err(serde_json::Error::custom(format!("it is about {}", row.symbol)));
    }
    let parts = [row.standard_commission, row.special_commission, row.tax_commission];
    let sum = |rate: fn(&Part) -> Decimal| {
        let all = parts.iter().try_fold(Decimal::ZERO, |sum, part| {
            sum.checked_add(rate(part))?.checked_add(part.buyer.max(part.seller))
        });
        let rate = all.and_then(|all| Rate::new(all.normalize()).ok());
        rate.ok_or_else(|| serde_json::Error::custom("a rate is not between 0 and 1"))
    };
    Ok(Commission { maker: sum(|part| part.maker)?, taker: sum(|part| part.taker)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the venue's documentation.
    const EXAMPLE: &str = r#"{"symbol": "BTCUSDT",
        "standardCommission": {"maker": "0.00000010", "taker": "0.00000020", "buyer": "0.00000030", "seller": "0.00000040"},
        "specialCommission": {"maker": "0.01000000", "taker": "0.02000000", "buyer": "0.03000000", "seller": "0.04000000"},
        "taxCommission": {"maker": "0.00000112", "taker": "0.00000114", "buyer": "0.00000118", "seller": "0.00000116"},
        "discount": {"enabledForAccount": true, "enabledForSymbol": true, "discountAsset": "BNB", "discount": "0.75000000"}}"#;

    #[test]
    fn all_that_a_trade_may_cost_is_added_up() {
        let read = read_commission(EXAMPLE.as_bytes(), "BTCUSDT").unwrap();
        assert_eq!(read.maker.to_string(), "0.0500028");
        assert_eq!(read.taker.to_string(), "0.06000292");
    }

    #[test]
    fn an_answer_about_another_pair_or_without_rates_is_refused() {
        assert!(read_commission(EXAMPLE.as_bytes(), "ETHUSDT").is_err());
        for body in ["{}", "", &EXAMPLE.replace("0.02000000", "1"), &EXAMPLE.replace("0.02000000", "-1")] {
            assert!(read_commission(body.as_bytes(), "BTCUSDT").is_err(), "{body}");
        }
        let plain = r#"{"symbol":"BTCUSDT","standardCommission":{"maker":"0.001","taker":"0.005","buyer":"0","seller":"0"}}"#;
        assert_eq!(read_commission(plain.as_bytes(), "BTCUSDT").unwrap().taker.to_string(), "0.005");
    }
}
