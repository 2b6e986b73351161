//! By which pairs a coin is valued in US dollars or in another coin: directly where it trades for that, else through
//! one coin between. A pair may be listed either way round on each step.

use model::Pair;

use crate::record::DOLLARS;

/// Dollars that coins are traded for, the most traded first.
const TRADED: [&str; 3] = ["USDT", "USDC", "FDUSD"];

/// Coins that others are traded for, the most traded first.
const BETWEEN: [&str; 3] = ["BTC", "ETH", "BNB"];

/// One pair on the way from a coin to what it is valued in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leg {
    pub(crate) pair: Pair,
    /// Whether the pair prices the other coin in this one, as USDT/TRY does for the lira.
    pub(crate) is_inverse: bool,
}

impl Leg {
    /// The coin that it leads to.
    pub(crate) fn target(&self) -> &str {
        if self.is_inverse { self.pair.base() } else { self.pair.quote() }
    }
}

/// The ways from a coin to US dollars, the best first; one without a leg where it is a dollar.
pub(crate) fn to_usd(coin: &str) -> Vec<Vec<Leg>> {
    if DOLLARS.contains(&coin) {
        return vec![Vec::new()];
    }
    let direct = |coin: &str| TRADED.iter().filter_map(|dollar| leg(coin, dollar)).collect::<Vec<_>>();
    let mut ways: Vec<Vec<Leg>> = direct(coin).into_iter().map(|leg| vec![leg]).collect();
    ways.extend(TRADED.iter().filter_map(|dollar| Some(vec![inverse(coin, dollar)?])));
    for between in BETWEEN {
        for first in either_way(coin, between) {
            ways.extend(direct(between).into_iter().map(|last| vec![first.clone(), last]));
        }
    }
    ways
}

/// The ways from one coin to another, the best first: directly, the other way round, and by what both are worth in the
/// same dollar or in another coin between.
pub(crate) fn between(coin: &str, other: &str) -> Vec<Vec<Leg>> {
    if coin == other {
        return vec![Vec::new()];
    }
    let mut ways: Vec<Vec<Leg>> = either_way(coin, other).into_iter().map(|leg| vec![leg]).collect();
    for between in TRADED.into_iter().chain(BETWEEN) {
        for first in either_way(coin, between) {
            // Most coins are listed for a dollar or a large coin, and not the reverse.
            let last = either_way(between, other).into_iter().rev();
            ways.extend(last.map(|last| vec![first.clone(), last]));
        }
    }
    ways
}

/// The pair of two coins, as it may be listed; none where they are one.
fn either_way(coin: &str, other: &str) -> Vec<Leg> {
    [leg(coin, other), inverse(coin, other)].into_iter().flatten().collect()
}

fn leg(coin: &str, priced_in: &str) -> Option<Leg> {
    Some(Leg { pair: format!("{coin}/{priced_in}").parse().ok()?, is_inverse: false })
}

fn inverse(coin: &str, other: &str) -> Option<Leg> {
    Some(Leg { pair: format!("{other}/{coin}").parse().ok()?, is_inverse: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ways: &[Vec<Leg>]) -> Vec<String> {
        let leg = |leg: &Leg| format!("{}{}", if leg.is_inverse { "1/" } else { "" }, leg.pair);
        ways.iter().map(|way| way.iter().map(leg).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn the_nearest_way_to_a_dollar_comes_first() {
        assert_eq!(shown(&to_usd("USDC")), [""]);
        let ways = shown(&to_usd("BNB"));
        assert_eq!(ways[..3], ["BNB/USDT", "BNB/USDC", "BNB/FDUSD"]);
        assert_eq!(ways[3..6], ["1/USDT/BNB", "1/USDC/BNB", "1/FDUSD/BNB"]);
        assert_eq!(ways[6..8], ["BNB/BTC BTC/USDT", "BNB/BTC BTC/USDC"]);
        assert!(ways.iter().all(|way| !way.contains("BNB/BNB")));
        let ways = shown(&to_usd("TRY"));
        for way in ["1/USDT/TRY", "1/BTC/TRY BTC/USDT"] {
            assert!(ways.iter().any(|it| it == way), "{way} in {ways:?}");
        }
    }

    #[test]
    fn a_fee_coin_is_valued_directly_where_it_trades_for_the_quote() {
        assert_eq!(shown(&between("BNB", "BNB")), [""]);
        let ways = shown(&between("BNB", "BTC"));
        assert_eq!(ways[..3], ["BNB/BTC", "1/BTC/BNB", "BNB/USDT 1/BTC/USDT"]);
        let ways = shown(&between("BNB", "USDT"));
        assert_eq!(ways[..3], ["BNB/USDT", "1/USDT/BNB", "BNB/USDC 1/USDT/USDC"]);
        assert!(ways.iter().all(|way| !way.contains("USDT/USDT")), "{ways:?}");
        let ways = shown(&between("BNB", "TRY"));
        assert_eq!(ways[..4], ["BNB/TRY", "1/TRY/BNB", "BNB/USDT 1/TRY/USDT", "BNB/USDT USDT/TRY"]);
    }
}
