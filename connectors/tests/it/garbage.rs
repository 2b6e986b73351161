//! Bad frames are refused and survived.

use connectors::binance::{DecodeError, Decoder, Frame, MAX_FRAME_BYTES, Subscriptions};
use proptest::prelude::*;

const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;

fn symbols() -> Subscriptions {
    let mut symbols = Subscriptions::new();
    symbols.add(&"BTC/USDT".parse().unwrap());
    symbols
}

fn decode(text: &str) -> Result<Frame, DecodeError> {
    Decoder::new().decode(text.as_bytes(), &symbols())
}

#[test]
fn impossible_prices_are_named() {
    for bad in ["0", "0.00000000", "-1", "NaN", "1e30", "Infinity", "", &"9".repeat(60)] {
        assert_eq!(decode(&TRADE.replace("61837.63000000", bad)), Err(DecodeError::Amount("p")), "{bad}");
    }
    assert_eq!(decode(&TRADE.replace(r#""61837.63000000""#, "61837.63")), Err(DecodeError::Field("p")));
    assert_eq!(decode(&TRADE.replace(r#""t":3735683259,"#, "")), Err(DecodeError::Field("t")));
}

#[test]
fn every_truncation_is_an_error_and_the_decoder_goes_on() {
    let mut decoder = Decoder::new();
    for length in 0..TRADE.len() {
        assert!(decoder.decode(&TRADE.as_bytes()[..length], &symbols()).is_err(), "{length}");
        assert!(matches!(decoder.decode(TRADE.as_bytes(), &symbols()), Ok(Frame::Trade { .. })));
    }
}

#[test]
fn an_oversized_frame_is_not_looked_at() {
    let frame = vec![b' '; MAX_FRAME_BYTES + 1];
    assert_eq!(Decoder::new().decode(&frame, &symbols()), Err(DecodeError::TooLong(MAX_FRAME_BYTES + 1)));
}

#[test]
fn control_frames_are_known() {
    assert_eq!(decode(r#"{"result":null,"id":1}"#), Ok(Frame::Acknowledged));
    assert_eq!(decode(r#"{"code":2,"msg":"Invalid request","id":1}"#), Ok(Frame::Refused(2)));
    assert_eq!(
        decode(r#"{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}"#),
        Ok(Frame::Refused(4))
    );
    assert_eq!(decode(r#"{"e":"serverShutdown","E":1}"#), Ok(Frame::ServerShutdown));
    assert_eq!(
        decode(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#),
        Ok(Frame::ServerShutdown)
    );
    assert_eq!(decode(&TRADE.replace("BTCUSDT", "ETHUSDT")), Ok(Frame::Unlisted));
    assert_eq!(decode(r#"{"e":"somethingNew"}"#), Ok(Frame::Other));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_frames_never_panic(edits in proptest::collection::vec((0..190_usize, any::<u8>()), 1..12)) {
        let mut frame = TRADE.as_bytes().to_vec();
        for (at, byte) in edits {
            if let Some(slot) = frame.get_mut(at) {
                *slot = byte;
            }
        }
        let mut decoder = Decoder::new();
        let _ = decoder.decode(&frame, &symbols());
        prop_assert!(decoder.decode(TRADE.as_bytes(), &symbols()).is_ok());
    }

    #[test]
    fn noise_never_panics(frame in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Decoder::new().decode(&frame, &symbols());
    }
}
