//! What becomes of an open trade whose owner changes the rules.

use model::{BotId, ExitReason, Quote};
use strategies::Plan;

use super::bot::Redefine;
use super::tests::{BODY, Process, definition, fees, market, store};
use crate::change::{Apply, Redefinition};
use crate::error::EngineError;

/// One entry, a stop 3 % below it and a take profit 1 % above it.
fn single() -> String {
    BODY.replace(r#""max_open_trades":3"#, r#""max_open_trades":1"#)
}

/// The owner of a running bot wants other rules; the code of what is refused.
async fn redefine(process: &Process, id: BotId, body: &str, how: Redefinition) -> Result<(), &'static str> {
    let former = process.stored(id).await.definition;
    let definition = definition(body);
    let plan = Plan::new(&definition, &market()).unwrap();
    let redefine = Redefine { plan, definition, former, capital: Quote::ZERO, fees: fees(), how, last: None };
    let done = match process.live(id).await.unwrap().send(redefine).await.unwrap() {
        Ok(durable) => {
            durable.wait().await.unwrap();
            Ok(())
        }
        Err(EngineError::Conflict { code, .. }) => Err(code),
        Err(error) => panic!("{error}"),
    };
    process.settle().await;
    done
}

/// A bot that bought at 100, and the price at which it is now.
async fn holding(body: &str, now: i64) -> (Process, BotId, tempfile::TempDir) {
    let (store, account, folder) = store().await;
    let process = Process::begin(&store, account).await;
    let id = process.launch(body).await;
    process.tick(10_000, 1).await;
    process.tick(now, 2).await;
    (process, id, folder)
}

#[actix_rt::test]
async fn rules_that_would_trade_at_the_next_tick_want_to_be_confirmed() {
    let confirmed = Redefinition { is_confirmed: true, ..Redefinition::default() };
    let trailing = single().replace(r#""take_profit":1"#, r#""take_profit":50,"trailing_stop":10"#);
    for (body, path, changed) in [
        (single(), vec![9_800], single().replace("-3", "-1")),
        (single(), vec![10_080], single().replace(r#""take_profit":1"#, r#""take_profit":0.5"#)),
        (single(), vec![9_900], BODY.to_owned()),
        // From a high that nobody was woken by.
        (trailing.clone(), vec![11_000, 10_500], trailing.replace(":10", ":3")),
    ] {
        let (process, id, _folder) = holding(&body, path[0]).await;
        for (cents, second) in path[1..].iter().zip(3..) {
            process.tick(*cents, second).await;
        }
        let before = process.trades().await[0].orders.len();
        let refused = redefine(&process, id, &changed, Redefinition::default()).await;
        assert_eq!(refused, Err("would_trade_now"), "{changed}");
        assert_eq!(process.stored(id).await.definition, definition(&body), "nothing has changed");
        let now = *path.last().unwrap();
        process.tick(now, 10).await;
        assert_eq!(process.trades().await[0].orders.len(), before, "{changed}");
        assert_eq!(redefine(&process, id, &changed, confirmed).await, Ok(()));
        process.tick(now, 11).await;
        assert_eq!(process.trades().await[0].orders.len(), before + 1, "{changed}");
    }
}

#[actix_rt::test]
async fn rules_that_change_nothing_at_the_next_tick_are_taken_at_once() {
    let (process, id, _folder) = holding(&single(), 9_900).await;
    let how = Redefinition::default();
    for changed in
        [single().replace("-3", "-2"), BODY.replace("0.7", "1.5"), single().replace("test", "other")]
    {
        assert_eq!(redefine(&process, id, &changed, how).await, Ok(()), "{changed}");
    }
}

#[actix_rt::test]
async fn a_trade_may_keep_its_rules_until_it_closes() {
    let next_trade = Redefinition { apply: Apply::NextTrade, ..Redefinition::default() };
    let wide = single().replace(r#""take_profit":1"#, r#""take_profit":5"#);
    // Its stop would lie above the market.
    let close_by = single().replace("-3", "-1");
    for (now, changed, then, reason) in
        [(10_050, &wide, 10_150, ExitReason::TakeProfit), (9_800, &close_by, 9_700, ExitReason::StopLoss)]
    {
        for dies in [false, true] {
            let (mut process, id, _folder) = holding(&single(), now).await;
            assert_eq!(redefine(&process, id, changed, next_trade).await, Ok(()));
            assert_eq!(process.stored(id).await.definition, definition(changed));
            let kept = || async { crate::record::kept_rules(&process.stored(id).await.state.unwrap()) };
            assert_eq!(kept().await, Some(definition(&single())));
            if dies {
                process = Process::begin(&process.store.clone(), process.account).await;
            }
            process.tick(now, 3).await;
            assert_eq!(process.trades().await[0].exit_reason, None, "{changed}");
            process.tick(then, 4).await;
            let trades = process.trades().await;
            assert_eq!(trades[0].exit_reason, Some(reason), "by the rules that it began with: {changed}");
            let state = process.stored(id).await.state.unwrap();
            assert_eq!(crate::record::kept_rules(&state), None);
            // The next one goes by the new rules.
            process.tick(10_000, 5).await;
            process.tick(if changed == &wide { 10_150 } else { 9_890 }, 6).await;
            let next = &process.trades().await[0];
            let expected = (changed != &wide).then_some(ExitReason::StopLoss);
            assert_eq!(next.exit_reason, expected, "{changed} {dies}");
        }
    }
}
