//! A made-up market: calm, trends, crashes and recoveries, the same for the same seed.

use model::{Pair, Price, Qty, Timestamp};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::{Happening, MarketError, MarketEvent, Print, Script};
use crate::config::Steps;

/// What the market is like for a while: how far a print moves it, in millionths of the price, and which way.
#[derive(Clone, Copy, Debug)]
struct Mood {
    spread: i64,
    drift: i64,
    /// How many prints it lasts, at least and at most.
    length: (u32, u32),
    /// How often it comes, of [`WEIGHTS`].
    weight: u32,
}

const MOODS: [Mood; 5] = [
    Mood { spread: 90, drift: 0, length: (300, 1_500), weight: 50 },
    Mood { spread: 110, drift: 9, length: (200, 900), weight: 20 },
    Mood { spread: 110, drift: -9, length: (200, 900), weight: 20 },
    // A crash, about 3 %, and a recovery.
    Mood { spread: 300, drift: -130, length: (150, 300), weight: 4 },
    Mood { spread: 200, drift: 60, length: (200, 500), weight: 6 },
];

const WEIGHTS: u32 = 100;

/// The longest step, in millionths of the price, however volatile.
const LONGEST: i64 = 200_000;

/// How far a price strays from where it began, as a factor.
const FURTHEST: i64 = 20;

/// One pair's walk.
#[derive(Debug)]
struct Path {
    price: i64,
    anchor: i64,
    mood: Mood,
    left: u32,
    next_at: Timestamp,
}

/// The walks of all pairs, merged in the order of time.
#[derive(Debug)]
pub(crate) struct Walk {
    dice: ChaCha8Rng,
    steps: Steps,
    volatility: Decimal,
    paths: Vec<Path>,
}

impl Walk {
    /// Begins at `now`.
    pub(crate) fn new(pairs: &[Pair], seed: u64, steps: Steps, now: Timestamp) -> Self {
        let path = |pair: &Pair| {
            let price = begin(pair);
            Path { price, anchor: price, mood: MOODS[0], left: 400, next_at: now }
        };
        Self {
            dice: ChaCha8Rng::seed_from_u64(seed),
            steps,
            volatility: Decimal::ONE,
            paths: pairs.iter().map(path).collect(),
        }
    }

    /// The same walk in steps that are so much longer.
    pub(crate) fn with_volatility(self, volatility: Decimal) -> Self {
        Self { volatility, ..self }
    }

    /// Where every pair stands.
    pub(crate) fn prices(&self) -> Vec<Price> {
        self.paths.iter().filter_map(|path| self.on_tick(path.price)).collect()
    }

    fn on_tick(&self, units: i64) -> Option<Price> {
        let tick = self.steps.tick_size;
        Price::from_e8(units.max(tick.e8()))?.floor_to_tick(tick)
    }
}

/// What a pair costs at the beginning, in hundred-millionths.
fn begin(pair: &Pair) -> i64 {
    let whole = match pair.base() {
        "BTC" => 60_000,
        "ETH" => 3_000,
        "BNB" => 600,
        "SOL" => 150,
        "LTC" => 80,
        base => 1 + base.bytes().map(i64::from).sum::<i64>() % 100,
    };
    whole * 100_000_000
}

impl Script for Walk {
    fn next_event(&mut self) -> Option<Result<MarketEvent, MarketError>> {
        self.next().map(Ok)
    }

    fn go_on_from(&mut self, pair: usize, price: Price) -> bool {
        if let Some(path) = self.paths.get_mut(pair) {
            (path.price, path.anchor) = (price.e8(), price.e8());
        }
        true
    }
}

impl Iterator for Walk {
    type Item = MarketEvent;

    fn next(&mut self) -> Option<MarketEvent> {
        let (pair, _) = self.paths.iter().enumerate().min_by_key(|(_, path)| path.next_at)?;
        let Self { dice, steps, volatility, paths } = self;
        let path = paths.get_mut(pair)?;
        if path.left == 0 {
            let mut roll = dice.random_range(0..WEIGHTS);
            path.mood = MOODS[0];
            for mood in MOODS {
                if roll < mood.weight {
                    path.mood = mood;
                    break;
                }
                roll -= mood.weight;
            }
            path.left = dice.random_range(path.mood.length.0..=path.mood.length.1);
        }
        path.left -= 1;
        // Far from where it began it is pulled back a little, so that it neither dies nor explodes.
        let away = (path.price - path.anchor) / (path.anchor / 1_000).max(1);
        let step = dice.random_range(-path.mood.spread..=path.mood.spread) + path.mood.drift - away / 40;
        let step = (Decimal::from(step) * *volatility).to_i64().unwrap_or_default().clamp(-LONGEST, LONGEST);
        path.price += path.price / 1_000_000 * step;
        path.price = path.price.clamp(path.anchor / FURTHEST, path.anchor.saturating_mul(FURTHEST));
        let at = path.next_at;
        path.next_at = Timestamp::from_nanos(at.nanos() + dice.random_range(100_000_000..900_000_000));
        let (units, is_buyer_maker) = (path.price, step < 0);
        let lots = dice.random_range(1..=20_000_u32);
        let qty = Qty::new(steps.lot_step.decimal() * Decimal::from(lots)).ok()?;
        let price = self.on_tick(units)?;
        let happening = Happening::Print(Print { id: 0, price, qty, is_buyer_maker });
        Some(MarketEvent { at, pair, happening, book: None, recorded: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volatility_makes_steps_longer_and_a_jump_is_where_it_goes_on() {
        let pairs = ["BTC/USDT".parse().unwrap()];
        let walk = |volatility: i64| {
            Walk::new(&pairs, 1, Steps::default(), Timestamp::from_nanos(0))
                .with_volatility(Decimal::from(volatility))
        };
        let furthest_step = |walk: Walk| {
            let prices: Vec<i64> = walk.take(20_000).map(|event| price(&event)).collect();
            prices.windows(2).map(|two| (two[1] - two[0]).abs() * 1_000_000 / two[0]).max().unwrap()
        };
        let (calm, wild) = (furthest_step(walk(1)), furthest_step(walk(20)));
        assert!(calm < 500 && (4_000..=LONGEST).contains(&wild), "{calm} {wild}");
        let mut walk = walk(1);
        assert!(walk.go_on_from(0, "100".parse().unwrap()));
        assert!(walk.take(1_000).all(|event| (90..110).contains(&(price(&event) / 100_000_000))));
    }

    fn price(event: &MarketEvent) -> i64 {
        let Happening::Print(print) = event.happening else { panic!() };
        print.price.e8()
    }

    #[test]
    fn the_same_seed_walks_the_same_way_and_stays_in_reach() {
        let pairs = ["BTC/USDT".parse().unwrap(), "ETH/USDT".parse().unwrap()];
        let walk = |seed| Walk::new(&pairs, seed, Steps::default(), Timestamp::from_nanos(0)).take(200_000);
        let said = |event: &MarketEvent| (event.at, event.pair, event.happening);
        assert!(walk(1).zip(walk(1)).all(|(one, two)| said(&one) == said(&two)));
        assert!(walk(1).zip(walk(2)).any(|(one, two)| said(&one) != said(&two)));
        let mut last = Timestamp::MIN;
        let (mut low, mut high) = (i64::MAX, 0);
        for event in walk(3) {
            assert!(event.at >= last);
            last = event.at;
            let Happening::Print(print) = event.happening else { panic!() };
            assert!(print.price.is_on_tick(Steps::default().tick_size));
            if event.pair == 0 {
                (low, high) = (low.min(print.price.e8()), high.max(print.price.e8()));
            }
        }
        let whole = 100_000_000;
        assert!(low > 30_000 * whole && high < 120_000 * whole, "{low} {high}");
        assert!(low < 59_500 * whole && high > 62_000 * whole, "{low} {high}: it moves");
    }
}
