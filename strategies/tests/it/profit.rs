//! Profit of live trades: what the account gained or lost by them, to the last digit, whatever coin the fees were taken
//! in.

use model::{ExitReason, Pair, Qty, Quote, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use strategies::live::{Closing, Execution, LiveTrade};

use super::price;

fn pair() -> Pair {
    "BNB/USDT".parse().unwrap()
}

const CLOSING: Option<Closing> = Some(Closing { reason: ExitReason::Manual, at: Timestamp::MIN });

fn execution(trade_id: i64, at: &str, qty: &str, fee: &str, fee_asset: &str) -> Execution {
    Execution {
        trade_id,
        at: Timestamp::MIN,
        price: price(at),
        qty: qty.parse().unwrap(),
        fee: fee.parse().unwrap(),
        fee_asset: fee_asset.into(),
        fee_price: (fee_asset == "XRP").then(|| "2.3".parse().unwrap()),
    }
}

/// Price in cents, quantity in thousandths, fee in millionths of the coin's own order of size, and its coin.
type Fill = (u32, u32, u32, &'static str);

fn fills() -> impl Strategy<Value = Vec<Fill>> {
    let coin = prop_oneof![Just("BNB"), Just("USDT"), Just("XRP")];
    proptest::collection::vec((50_000..70_000_u32, 1..2_000_u32, 0..1_000_u32, coin), 1..6)
}

fn executions(first: i64, fills: &[Fill]) -> Vec<Execution> {
    let of = |(trade_id, (cents, thousandths, millionths, coin)): (i64, &Fill)| {
        let (qty, share) =
            (Decimal::new(i64::from(*thousandths), 3), Decimal::new(i64::from(*millionths), 6));
        let price = Decimal::new(i64::from(*cents), 2);
        let fee = if *coin == "BNB" { qty * share } else { (price * qty * share).round_dp(8) };
        execution(trade_id, &price.to_string(), &qty.to_string(), &fee.to_string(), coin)
    };
    (first..).zip(fills).map(of).collect()
}

/// What a fill did to the account: in quote with a fee in a third coin at its price, and in base.
fn moved(execution: &Execution, sign: Decimal) -> (Decimal, Decimal) {
    let fee = execution.fee.decimal();
    let (in_quote, in_base) = match &*execution.fee_asset {
        "USDT" => (fee, Decimal::ZERO),
        "BNB" => (Decimal::ZERO, fee),
        _ => (fee * execution.fee_price.unwrap().decimal(), Decimal::ZERO),
    };
    let qty = execution.qty.decimal();
    (-sign * execution.price.decimal() * qty - in_quote, sign * qty - in_base)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn profit_is_what_the_account_gained_whatever_coin_the_fees_were_taken_in(
        buys in fills(), sells in fills(), is_all_sold in any::<bool>(),
    ) {
        let bought = executions(1, &buys);
        let received: Decimal = bought.iter().map(|e| moved(e, Decimal::ONE).1).sum();
        let mut left = received;
        let mut sold = executions(100, &sells);
        for execution in &mut sold {
            let qty = execution.qty.decimal().min(left);
            execution.qty = Qty::new(qty).unwrap();
            left -= qty;
        }
        if is_all_sold {
            let last = sold.last_mut().unwrap();
            last.qty += Qty::new(left).unwrap();
            left = Decimal::ZERO;
        }
        let trade = LiveTrade::recounted(bought.clone(), sold.clone(), Qty::ZERO, CLOSING);
        let profit = trade.profit(&pair()).decimal() - trade.dust_cost(&pair()).decimal();

        let mut gained: Decimal = bought.iter().map(|e| moved(e, Decimal::ONE).0).sum();
        let mut fees_in_base = Decimal::ZERO;
        for execution in sold.iter().rev() {
            gained += moved(execution, -Decimal::ONE).0;
            if &*execution.fee_asset == "BNB" {
                // What the trade has left pays first for the last of them, the account's own coins for the others.
                let own = execution.fee.decimal().min(left);
                left -= own;
                fees_in_base += (execution.fee.decimal() - own) * execution.price.decimal();
            }
        }
        prop_assert_eq!(profit, gained - fees_in_base);
        prop_assert_eq!(trade.held(&pair()).decimal(), left, "dust is what is really there");
    }
}

#[test]
fn a_sells_fee_in_the_base_coin_costs_what_it_was_worth() {
    let bought = vec![execution(1, "600", "0.5", "0.0005", "BNB")];
    let sold = vec![execution(2, "599.99", "0.4995", "0.0004995", "BNB")];
    let trade = LiveTrade::recounted(bought, sold, Qty::ZERO, CLOSING);
    assert_eq!(trade.profit(&pair()), "-0.604690005".parse::<Quote>().unwrap());
    assert_eq!(trade.dust_cost(&pair()), Quote::ZERO);
}

#[test]
fn what_its_owner_sold_by_hand_leaves_a_trade_at_what_it_cost() {
    let bought = vec![execution(1, "600", "0.3", "0.0003", "BNB"), execution(2, "590", "0.2", "0.1", "USDT")];
    let stake: Quote = "298.1".parse().unwrap();
    let trade =
        |sold, missing: &str| LiveTrade::recounted(bought.clone(), sold, missing.parse().unwrap(), CLOSING);
    let all = trade(Vec::new(), "0.4997");
    assert_eq!((all.profit(&pair()), all.amount(&pair())), (Quote::ZERO, Qty::ZERO));
    assert_eq!((all.stake(&pair()), all.exit_price()), (stake, None));
    // A fifth of it is sold, the rest is gone: what it brought less a fifth of the stake.
    let fifth = trade(vec![execution(3, "610", "0.09994", "0", "USDT")], "0.39976");
    assert_eq!(fifth.amount(&pair()), "0.09994".parse().unwrap());
    assert_eq!(fifth.profit(&pair()), "1.3434".parse().unwrap());
    assert_eq!(fifth.dust_cost(&pair()), Quote::ZERO);
}
