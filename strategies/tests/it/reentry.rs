//! When a live bot buys again after its trade has closed: the venue's time of the closing execution decides, whichever
//! way and whenever it is told.

use model::ExitReason;
use strategies::live::{End, Role};

use super::price;
use super::words::Desk;

const FIELDS: &str = r#"{"dry_run":false,"max_open_trades":1,"stop_loss":-5,"take_profit":50}"#;

/// A bot whose stop at the venue filled at 94.9 in its third second, told before the print that it made.
fn stopped_out(fields: &str) -> Desk {
    let mut desk = Desk::holding(fields, true);
    desk.wait(2);
    desk.report(Role::Protection, Some(End::Filled), "0.5", price("94.9"));
    assert_eq!(desk.said(), ["stop 95.09", "closed stop_loss"]);
    desk
}

#[test]
fn a_live_bot_does_not_buy_again_on_the_print_that_stopped_it_out() {
    let mut desk = stopped_out(FIELDS);
    desk.print("94.9");
    assert!(desk.said().is_empty(), "bought at the very trade that closed the one before");
    desk.tick("97");
    assert_eq!(desk.said(), ["Entry(0) 0.516"]);
}

#[test]
fn a_live_bots_cooldown_counts_from_the_closing_execution() {
    let mut desk = stopped_out(&FIELDS.replace("50}", r#"50,"dca":{"cooldown_s":60}}"#));
    for _ in 0..59 {
        desk.tick("97");
    }
    assert!(desk.said().is_empty(), "60 s after the tick before it");
    desk.tick("97");
    assert_eq!(desk.said(), ["Entry(0) 0.516"]);
}

#[test]
fn prints_that_were_made_before_a_sale_and_come_after_it_open_nothing() {
    let mut desk = Desk::holding(FIELDS, false);
    desk.act(|bot, mint, steps| bot.close(ExitReason::Manual, &mut || mint(), steps));
    desk.wait(5);
    desk.fill("99");
    desk.said();
    let late = model::PriceMove::tick(price("98"), model::Timestamp::from_millis(3_000));
    assert!(!desk.bot.watch().is_left_by(late.price, late.at, late.price));
    desk.print("99");
    assert!(desk.said().is_empty());
    desk.tick("99");
    assert_eq!(desk.said(), ["Entry(0) 0.506"]);
}
