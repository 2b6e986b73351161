//! What trails goes on trailing, whatever its owner says meanwhile.

use model::{BotId, ExitReason, Quote};
use strategies::Plan;

use super::bot::{Redefine, Stop};
use super::tests::{BODY, Process, definition, fees, market, store};
use crate::change::{Positions, Redefinition};

/// What an owner says to a running bot.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Word {
    Nothing,
    Patch,
    HoldAndStart,
    Drain,
}

async fn say(process: &Process, id: BotId, word: Word, body: &str) {
    let live = process.live(id).await.unwrap();
    match word {
        Word::Nothing => {}
        Word::Patch => {
            let former = definition(body);
            let renamed = definition(&body.replace(r#""name":"test""#, r#""name":"another""#));
            let plan = Plan::new(&renamed, &market()).unwrap();
            let how = Redefinition::default();
            let redefine = Redefine {
                plan,
                definition: renamed,
                former,
                capital: Quote::ZERO,
                fees: fees(),
                how,
                last: None,
            };
            live.send(redefine).await.unwrap().unwrap().wait().await.unwrap();
        }
        Word::HoldAndStart => {
            live.send(Stop(Positions::Hold)).await.unwrap().unwrap().wait().await.unwrap();
            process.settle().await;
            process.probe.launch(process.stored(id).await).await.unwrap();
        }
        Word::Drain => {
            live.send(Stop(Positions::Drain)).await.unwrap().unwrap().wait().await.unwrap();
        }
    }
    process.settle().await;
}

#[actix_rt::test]
async fn a_high_is_not_forgotten_at_its_owners_word() {
    for (trails, reason) in [
        (r#""trailing_stop":3,"take_profit":50"#, ExitReason::TrailingStop),
        (r#""trailing_take_profit":3,"take_profit":2"#, ExitReason::TrailingTakeProfit),
    ] {
        let body = BODY
            .replace(r#""take_profit":1"#, trails)
            .replace("\"max_open_trades\":3", "\"max_open_trades\":1");
        for word in [Word::Nothing, Word::Patch, Word::HoldAndStart, Word::Drain] {
            let (store, account, _folder) = store().await;
            let process = Process::begin(&store, account).await;
            let id = process.launch(&body).await;
            for (cents, second) in [10_000, 10_400, 11_000, 10_900].into_iter().zip(1..) {
                process.tick(cents, second).await;
            }
            say(&process, id, word, &body).await;
            process.tick(10_700, 10).await;
            assert_eq!(process.trades().await[0].exit_reason, None, "{word:?} {trails}");
            // 3 % under 110.00.
            process.tick(10_670, 11).await;
            let trade = &process.trades().await[0];
            assert_eq!(trade.exit_reason, Some(reason), "{word:?} {trails}");
        }
    }
}

#[actix_rt::test]
async fn what_is_held_is_kept_with_its_stop_as_it_stood() {
    let (store, account, _folder) = store().await;
    let process = Process::begin(&store, account).await;
    let id =
        process.launch(&BODY.replace(r#""take_profit":1"#, r#""take_profit":50,"trailing_stop":3"#)).await;
    for (cents, second) in [10_000, 11_000, 10_900].into_iter().zip(1..) {
        process.tick(cents, second).await;
    }
    process.live(id).await.unwrap().send(Stop(Positions::Hold)).await.unwrap().unwrap().wait().await.unwrap();
    process.settle().await;
    assert_eq!(process.trades().await[0].stop_price, Some("106.70".parse().unwrap()));
}
