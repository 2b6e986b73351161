//! What is asked of the venue, as the text that is kept and sent.

use std::fmt::Write as _;

use model::{ClientOrderId, Pair, Price, Qty, Side};

use crate::binance::subscriptions::symbol;

/// An order that is to be placed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderRequest {
    /// Of which pair.
    pub pair: Pair,
    /// What the venue is to call it. 32 lower-case hex digits on the wire, which fits the venue's
    /// `^[a-zA-Z0-9-_]{1,36}$`; minted once per intent, because the venue holds it unique among *open* orders only.
    pub client_order_id: ClientOrderId,
    /// Which way.
    pub side: Side,
    /// How much, in base.
    pub qty: Qty,
    /// How it is worked.
    pub kind: RequestKind,
}

/// How an order is worked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    /// At whatever the book gives.
    Market,
    /// At this price or better.
    Limit {
        /// The price.
        price: Price,
        /// How long it may rest.
        tif: TimeInForce,
    },
    /// Once the last price reaches `stop`, a limit order that rests until it is taken back.
    StopLossLimit {
        /// What sets it off: reached from above by a sell, from below by a buy.
        stop: Price,
        /// The limit order's price.
        price: Price,
    },
}

/// How long an order may rest on the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeInForce {
    /// Until it is filled or taken back.
    Gtc,
    /// Not at all: what cannot fill at once expires.
    Ioc,
}

impl TimeInForce {
    /// The venue's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
        }
    }
}

impl RequestKind {
    /// The venue's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Market => "MARKET",
            Self::Limit { .. } => "LIMIT",
            Self::StopLossLimit { .. } => "STOP_LOSS_LIMIT",
        }
    }

    /// Whether it waits to be set off.
    pub const fn is_stop(self) -> bool {
        matches!(self, Self::StopLossLimit { .. })
    }

    /// The limit price; `None` where the book decides.
    pub const fn price(self) -> Option<Price> {
        match self {
            Self::Market => None,
            Self::Limit { price, .. } | Self::StopLossLimit { price, .. } => Some(price),
        }
    }
}

/// The venue's word for a side.
pub(super) const fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

impl OrderRequest {
    /// The parameters in a fixed order, without time and signature: what is journaled before the order leaves, and
    /// what [`TradeRest::place`](super::TradeRest::place) and [`TradeStream::place`](super::TradeStream::place) send.
    ///
    /// Numbers are plain decimals without trailing zeros; nothing in it needs to be percent-encoded.
    pub fn body(&self) -> String {
        let mut body = format!(
            "symbol={}&side={}&type={}",
            symbol(&self.pair),
            side_word(self.side),
            self.kind.as_str()
        );
        let qty = self.qty.decimal().normalize();
        let id = self.client_order_id;
        // Writing to a String cannot fail.
        let _ = match self.kind {
            RequestKind::Market => write!(body, "&quantity={qty}"),
            RequestKind::Limit { price, tif } => {
                write!(body, "&timeInForce={}&quantity={qty}&price={price}", tif.as_str())
            }
            RequestKind::StopLossLimit { stop, price } => {
                write!(body, "&timeInForce=GTC&quantity={qty}&price={price}&stopPrice={stop}")
            }
        };
        let _ = write!(body, "&newClientOrderId={id}&newOrderRespType=FULL");
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(side: Side, qty: &str, kind: RequestKind, expected: &str) {
        let request = OrderRequest {
            pair: "BTC/USDT".parse().unwrap(),
            client_order_id: ClientOrderId::from_u128(0x0193_5f00_0000_7000_8000_0000_0000_00ab),
            side,
            qty: qty.parse().unwrap(),
            kind,
        };
        let id = "01935f000000700080000000000000ab";
        assert_eq!(
            request.body(),
            format!("symbol=BTCUSDT&{expected}&newClientOrderId={id}&newOrderRespType=FULL")
        );
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn a_body_holds_the_parameters_in_a_fixed_order() {
        check(Side::Buy, "0.00100", RequestKind::Market, "side=BUY&type=MARKET&quantity=0.001");
        let limit = |tif| RequestKind::Limit { price: price("30000.50"), tif };
        check(
            Side::Buy,
            "12",
            limit(TimeInForce::Gtc),
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=12&price=30000.5",
        );
        check(
            Side::Sell,
            "100000000000.00000001",
            limit(TimeInForce::Ioc),
            "side=SELL&type=LIMIT&timeInForce=IOC&quantity=100000000000.00000001&price=30000.5",
        );
        let stop = RequestKind::StopLossLimit { stop: price("0.00000002"), price: price("0.00000001") };
        check(
            Side::Sell,
            "1000",
            stop,
            "side=SELL&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=1000&price=0.00000001&stopPrice=0.00000002",
        );
    }
}
