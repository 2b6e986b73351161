//! What an account's holdings come to at given prices. Pure: every amount in a quote coin is exact, amounts in US
//! dollars are rounded once, to eight decimals, where the coin is no dollar.
//!
//! Paper money and real money never meet. On paper the account is what its bots' ladders need, plus what they made: the
//! cash is that less what open trades spent, and what it is worth is the cash and the coins. On a real account it is what
//! the venue says is there, whoever bought it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{BotId, Exchange, ExchangeId, Pair, Quote, Rate, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::prices::Prices;
use crate::rates::valued;
use crate::store::{Holdings, OpenTrade};

/// What an account is worth, and of what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct Portfolio {
    /// When the prices were taken.
    pub as_of: Timestamp,
    /// Real money.
    pub live: Side,
    /// Paper money.
    pub dry_run: Side,
    /// What one coin of each currency is worth in US dollars; what counts as a dollar is 1.
    pub rates: Vec<UsdRate>,
}

/// One kind of money in US dollars, now or at the end of a step of the past; `None` where something had no known price.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EquityFigures)]
pub struct Figures {
    /// What all balances are worth together.
    #[schema(required)]
    pub equity_usd: Option<Quote>,
    /// What bots hold in coins, at the last price.
    #[schema(required)]
    pub exposure_usd: Option<Quote>,
    /// What closed trades made: the sum of their `profit_usd`, each at the rate of its own close.
    #[schema(required)]
    pub realized_profit_usd: Option<Quote>,
    /// What open trades would make at the last price, after the fee of selling: the sum of their `profit_usd`.
    #[schema(required)]
    pub unrealized_profit_usd: Option<Quote>,
    /// What the paper account was given: what its bots' whole ladders need, those of deleted bots that have traded
    /// included, since what they made counts as well. `None` for real money.
    #[schema(required)]
    pub capital_usd: Option<Quote>,
}

/// All of one kind of money.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = PortfolioSide)]
pub struct Side {
    /// In US dollars.
    #[serde(flatten)]
    pub figures: Figures,
    /// How many closed trades are not in `realized_profit_usd`, because no rate could be had when they closed.
    pub unvalued_trades: i64,
    /// The same by venue and currency, exact.
    pub currencies: Vec<Currency>,
    /// What is there.
    pub balances: Vec<Balance>,
    /// The accounts at venues, for real money.
    pub connections: Vec<Connection>,
    /// Coins without a known price: they count for nothing above.
    pub unpriced: Vec<String>,
}

/// What bots that trade for one currency at one venue hold and made, in that currency. On paper
/// `equity = cash + exposure = capital + realized_profit + unrealized_profit + closing_fees`, to the last digit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PortfolioCurrency)]
pub struct Currency {
    /// The venue.
    pub exchange: Exchange,
    /// The quote coin.
    pub currency: String,
    /// Closed trades.
    pub trades: i64,
    /// What the paper account was given: what its bots' whole ladders need, those of deleted bots that have traded
    /// included, since what they made counts as well. `None` for real money.
    #[schema(required)]
    pub capital: Option<Quote>,
    /// What is left of it in the currency itself, on paper.
    #[schema(required)]
    pub cash: Option<Quote>,
    /// Cash and coins, on paper.
    #[schema(required)]
    pub equity: Option<Quote>,
    /// Coins at the last price.
    #[schema(required)]
    pub exposure: Option<Quote>,
    /// What closed trades made, fees off it.
    pub realized_profit: Quote,
    /// The same in US dollars, each trade at the rate of its own close.
    pub realized_profit_usd: Quote,
    /// How many closed trades are not in that, because no rate could be had when they closed.
    pub unvalued_trades: i64,
    /// What open trades would make at the last price, after the fee of selling: the sum of their `profit`.
    #[schema(required)]
    pub unrealized_profit: Option<Quote>,
    /// What selling everything at the last price would cost in fees. `exposure` and `equity` are before it.
    #[schema(required)]
    pub closing_fees: Option<Quote>,
    /// Fees that closed trades paid.
    pub fees: Quote,
}

/// An amount of one coin. `value = total · price`, exactly.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct Balance {
    /// The venue.
    pub exchange: Exchange,
    /// The connection, for real money.
    #[schema(required)]
    pub exchange_id: Option<ExchangeId>,
    /// The coin.
    pub asset: String,
    /// What may be spent.
    pub free: Quote,
    /// What open orders hold back.
    pub locked: Quote,
    /// Both.
    pub total: Quote,
    /// The last price of a coin in `currency`; `None` where it is not known.
    #[schema(required)]
    pub price: Option<Quote>,
    /// What the price is in.
    #[schema(required)]
    pub currency: Option<String>,
    /// What all of it is worth in `currency`.
    #[schema(required)]
    pub value: Option<Quote>,
    /// What all of it is worth in US dollars.
    #[schema(required)]
    pub value_usd: Option<Quote>,
}

/// An account at a venue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PortfolioConnection)]
pub struct Connection {
    /// Its id.
    pub exchange_id: ExchangeId,
    /// The venue.
    pub exchange: Exchange,
    /// What its owner calls it.
    pub name: String,
    /// What it holds; `None` where the venue did not tell.
    #[schema(required)]
    pub equity_usd: Option<Quote>,
    /// When the venue told.
    #[schema(required)]
    pub counted_at: Option<Timestamp>,
}

/// What a currency is worth.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct UsdRate {
    /// The coin.
    pub currency: String,
    /// US dollars for one; `None` where it is not known.
    #[schema(required)]
    pub usd: Option<Quote>,
}

/// What the venue told of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LiveAccount {
    pub(crate) exchange_id: ExchangeId,
    pub(crate) exchange: Exchange,
    pub(crate) name: String,
    /// Coin, free, locked; `None` where it did not tell.
    pub(crate) balances: Option<Vec<(String, Decimal, Decimal)>>,
    pub(crate) counted_at: Option<Timestamp>,
}

/// What bots hold and made for one currency at one venue.
#[derive(Default)]
struct Book {
    capital: Decimal,
    trades: i64,
    profit: Decimal,
    fees: Decimal,
    profit_usd: Decimal,
    unvalued: i64,
    /// What open trades spent, in all.
    spent: Decimal,
    /// Coins, by pair.
    coins: BTreeMap<Pair, Coins>,
}

/// What open trades of one pair hold.
#[derive(Default)]
struct Coins {
    held: Decimal,
    /// How much of that the fee of selling takes: of each trade at its own rate.
    fee: Decimal,
}

type Books = BTreeMap<(bool, Exchange, String), Book>;

/// What holdings and accounts come to.
pub(crate) fn reckon(
    holdings: &Holdings,
    accounts: &[LiveAccount],
    prices: &Prices,
    fee: Rate,
    as_of: Timestamp,
) -> Portfolio {
    let books = books(holdings, fee);
    let mut used = BTreeSet::new();
    let mut dry_run = side(&books, true, prices);
    let mut live = side(&books, false, prices);
    for balance in live_balances(accounts, prices) {
        live.unpriced.extend(balance.value.is_none().then(|| balance.asset.clone()));
        live.balances.push(balance);
    }
    live.connections = accounts.iter().map(|account| connection(account, &live.balances)).collect();
    live.figures.equity_usd = live.connections.iter().map(|connection| connection.equity_usd).sum();
    dry_run.figures.equity_usd = dry_run.balances.iter().map(|balance| balance.value_usd).sum();
    for side in [&mut dry_run, &mut live] {
        side.unpriced.sort_unstable();
        side.unpriced.dedup();
        used.extend(side.currencies.iter().map(|currency| currency.currency.clone()));
        used.extend(side.balances.iter().filter_map(|balance| balance.currency.clone()));
    }
    let rates = used.into_iter().map(|currency| UsdRate { usd: prices.usd(&currency), currency });
    Portfolio { as_of, live, dry_run, rates: rates.collect() }
}

fn books(holdings: &Holdings, fee: Rate) -> Books {
    let mut books = Books::new();
    for ((_, exchange, dry_run, quote), ladder) in &holdings.ladders {
        let book = books.entry((*dry_run, *exchange, quote.clone())).or_default();
        book.capital += ladder.capital;
    }
    let mut bots: HashMap<BotId, (&OpenTrade, Decimal)> = HashMap::new();
    for trade in &holdings.open {
        let OpenTrade { exchange, pair, dry_run, amount, stake, bot_id, .. } = trade;
        let book = books.entry((*dry_run, *exchange, pair.quote().to_owned())).or_default();
        book.spent += stake.decimal();
        let coins = book.coins.entry(pair.clone()).or_default();
        coins.held += amount.decimal();
        coins.fee += amount.decimal() * trade.fee.unwrap_or(fee).decimal();
        bots.entry(*bot_id).or_insert((trade, Decimal::ZERO)).1 += stake.decimal();
    }
    for (trade, spent) in bots.into_values() {
        let book = books.entry((trade.dry_run, trade.exchange, trade.pair.quote().to_owned())).or_default();
        // What was added by hand beyond the ladder was given to it then.
        book.capital += (spent - trade.ladder.decimal()).max(Decimal::ZERO);
    }
    for ((_, exchange, dry_run, quote), sum) in &holdings.realized {
        let book = books.entry((*dry_run, *exchange, quote.clone())).or_default();
        book.trades += sum.trades;
        book.profit += sum.profit;
        book.fees += sum.fees;
        book.profit_usd += sum.profit_usd;
        book.unvalued += sum.unvalued;
    }
    books
}

/// One kind of money, without its equity.
fn side(books: &Books, dry_run: bool, prices: &Prices) -> Side {
    let mut side = Side::default();
    for ((_, exchange, currency), book) in books.iter().filter(|((is_dry, ..), _)| *is_dry == dry_run) {
        // Of the coins, and of what selling them takes.
        let mut worth = Some((Decimal::ZERO, Decimal::ZERO));
        for (pair, Coins { held, fee }) in &book.coins {
            let price = prices.price(pair);
            let each = price.map(|price| (price.decimal() * *held, price.decimal() * *fee));
            worth = worth.zip(each).map(|((coins, fees), (more, fee))| (coins + more, fees + fee));
            let price = price.and_then(|price| Quote::new(price.decimal()).ok());
            if price.is_none() {
                side.unpriced.push(pair.base().to_owned());
            }
            if dry_run {
                let total = quote(*held);
                side.balances.push(balance(
                    *exchange,
                    None,
                    pair.base(),
                    total,
                    price,
                    Some(currency),
                    prices,
                ));
            }
        }
        let (exposure, closing_fees) = worth.unzip();
        let cash = book.capital + book.profit - book.spent;
        if dry_run {
            let one = Quote::new(Decimal::ONE).ok();
            side.balances.push(balance(*exchange, None, currency, quote(cash), one, Some(currency), prices));
        }
        side.currencies.push(Currency {
            exchange: *exchange,
            currency: currency.clone(),
            trades: book.trades,
            capital: dry_run.then(|| quote(book.capital)),
            cash: dry_run.then(|| quote(cash)),
            equity: exposure.filter(|_| dry_run).map(|exposure| quote(cash + exposure)),
            exposure: exposure.map(quote),
            realized_profit: quote(book.profit),
            realized_profit_usd: quote(book.profit_usd),
            unvalued_trades: book.unvalued,
            unrealized_profit: worth.map(|(coins, fees)| quote(coins - fees - book.spent)),
            closing_fees: closing_fees.map(quote),
            fees: quote(book.fees),
        });
    }
    let usd = |amount: fn(&Currency) -> Option<Quote>| -> Option<Quote> {
        let each = side.currencies.iter();
        each.map(|currency| in_usd(amount(currency)?, &currency.currency, prices)).sum()
    };
    side.figures.exposure_usd = usd(|currency| currency.exposure);
    side.figures.realized_profit_usd = Some(side.currencies.iter().map(|c| c.realized_profit_usd).sum());
    side.unvalued_trades = side.currencies.iter().map(|c| c.unvalued_trades).sum();
    side.figures.unrealized_profit_usd = usd(|currency| currency.unrealized_profit);
    side.figures.capital_usd = if dry_run { usd(|currency| currency.capital) } else { None };
    side
}

fn live_balances<'a>(accounts: &'a [LiveAccount], prices: &'a Prices) -> impl Iterator<Item = Balance> + 'a {
    accounts.iter().flat_map(move |account| {
        account.balances.iter().flatten().map(move |(asset, free, locked)| {
            let total = quote(*free + *locked);
            let (price, currency) = match prices.of(asset) {
                Some((price, currency)) => (Some(price), Some(currency)),
                None => (None, None),
            };
            let (id, exchange) = (Some(account.exchange_id), account.exchange);
            let worth = balance(exchange, id, asset, total, price, currency.as_deref(), prices);
            Balance { free: quote(*free), locked: quote(*locked), ..worth }
        })
    })
}

fn balance(
    exchange: Exchange,
    exchange_id: Option<ExchangeId>,
    asset: &str,
    total: Quote,
    price: Option<Quote>,
    currency: Option<&str>,
    prices: &Prices,
) -> Balance {
    let value = price.map(|price| quote(total.decimal() * price.decimal()));
    Balance {
        exchange,
        exchange_id,
        asset: asset.to_owned(),
        free: total,
        locked: Quote::ZERO,
        total,
        price: price.map(|price| quote(price.decimal().normalize())),
        currency: currency.map(str::to_owned),
        value,
        value_usd: value.zip(currency).and_then(|(value, currency)| in_usd(value, currency, prices)),
    }
}

/// An account and what it is worth: coins without a price count for nothing.
fn connection(account: &LiveAccount, balances: &[Balance]) -> Connection {
    let of_account = balances.iter().filter(|balance| balance.exchange_id == Some(account.exchange_id));
    Connection {
        exchange_id: account.exchange_id,
        exchange: account.exchange,
        name: account.name.clone(),
        equity_usd: account.balances.as_ref().map(|_| of_account.filter_map(|b| b.value_usd).sum()),
        counted_at: account.counted_at,
    }
}

/// An amount in US dollars, to eight decimals; nothing is worth nothing whatever its coin is.
pub(crate) fn in_usd(amount: Quote, currency: &str, prices: &Prices) -> Option<Quote> {
    if amount.is_zero() {
        return Some(Quote::ZERO);
    }
    valued(amount, prices.usd(currency)?)
}

/// An amount that is far from any bound: validation keeps every part of it there.
fn quote(value: Decimal) -> Quote {
    Quote::new(value).unwrap_or_default()
}
