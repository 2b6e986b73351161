//! Frames of the socket interface: no bytes panic, an execution is never of nothing, and what an answer is read as
//! depends on nothing else.
#![no_main]

use connectors::binance::rest::Effect;
use connectors::binance::trade::{SocketFrame, UserFrame, read_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| match read_frame(frame) {
    Ok(SocketFrame::User(UserFrame::Report(report))) => {
        if let Some(execution) = &report.execution {
            assert!(!execution.qty.is_zero() && execution.trade_id >= 0, "{execution:?}");
            assert_eq!(execution.venue_order_id, report.order.venue_order_id);
        }
    }
    Ok(SocketFrame::Answer(answer)) => {
        assert_eq!(answer.order(Effect::Order).is_ok(), answer.order(Effect::Read).is_ok());
    }
    _ => {}
});
