"""ccxt, unpatched, trades on the simulated venue."""

import asyncio

import ccxt
import ccxt.pro

from checks import KEY, SECRET, STREAM, URL, check

PAIR = "BTC/USDT"


def client(key=KEY, secret=SECRET):
    """A ccxt client that talks to the venue alone (its other start-up calls are not spot)."""
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False,
               "defaultType": "spot"}
    exchange = ccxt.pro.binance({"apiKey": key, "secret": secret, "options": options})
    api = exchange.urls["api"]
    for name, address in list(api.items()):
        if isinstance(address, str):
            api[name] = address.replace("https://api.binance.com", URL)
    api["ws"]["spot"] = STREAM + "/ws"
    api["ws"]["ws-api"]["spot"] = STREAM + "/ws-api/v3"
    return exchange


async def refuses(claim, expected, call):
    """The venue's refusal reaches the user as the class that ccxt has for it, and no other."""
    try:
        answer = await call
    except ccxt.BaseError as error:
        check(claim, type(error) is expected, error)
    else:
        check(claim, False, answer)


async def follow(exchange, updates):
    """Hands on what the user stream tells; ccxt drops what comes while nobody waits for it."""
    while True:
        for order in await exchange.watch_orders(PAIR):
            updates.put_nowait(order)


async def order_until(updates, order_id, status):
    """Reads on until the order has the status."""
    while True:
        order = await asyncio.wait_for(updates.get(), 20)
        if order["id"] == order_id and order["status"] == status:
            return order


async def trade(exchange):
    markets = await exchange.load_markets()
    check("the pair is listed", PAIR in markets, list(markets))
    # A market may only begin to move when somebody watches it, so watching comes first.
    trades = await exchange.watch_trades(PAIR)
    check("public trades arrive", trades[-1]["price"] > 0, trades)
    ticker = await exchange.watch_ticker(PAIR)
    check("tickers arrive", ticker["last"] > 0, ticker)
    before = await exchange.fetch_balance()
    check("the balance is there", before["USDT"]["free"] > 0, before["USDT"])

    await exchange.authenticate()
    updates = asyncio.Queue()
    follower = asyncio.create_task(follow(exchange, updates))
    amount = exchange.amount_to_precision(PAIR, 100 / ticker["last"])
    bought = await exchange.create_order(PAIR, "market", "buy", float(amount))
    filled = await order_until(updates, bought["id"], "closed")
    check("the user stream tells of the fill", filled["filled"] == float(amount), filled)
    mine = await exchange.fetch_my_trades(PAIR)
    check("the fill is listed with its fee",
          any(fill["order"] == bought["id"] and fill["fee"]["cost"] > 0 for fill in mine), mine)

    price = float(exchange.price_to_precision(PAIR, ticker["last"] * 0.9))
    resting = await exchange.create_order(PAIR, "limit", "buy", float(amount), price)
    open_orders = await exchange.fetch_open_orders(PAIR)
    check("a limit order below the market rests", resting["id"] in [o["id"] for o in open_orders], open_orders)
    await exchange.cancel_order(resting["id"], PAIR)
    canceled = await order_until(updates, resting["id"], "canceled")
    check("the user stream tells of the cancel", canceled["filled"] == 0, canceled)
    follower.cancel()
    return ticker["last"]


async def be_refused(exchange, last):
    def raw(**fields):
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
                 "quantity": "0.001", "price": f"{last * 0.9:.2f}"}
        return exchange.privatePostOrder(order | fields)

    await refuses("too large an order", ccxt.InsufficientFunds,
                  exchange.create_order(PAIR, "limit", "buy", 100, round(last * 0.9, 2)))
    await refuses("an unknown order's cancel", ccxt.OrderNotFound, exchange.cancel_order("999999999", PAIR))
    await refuses("an unknown order", ccxt.OrderNotFound, exchange.fetch_order("999999999", PAIR))
    await refuses("an unknown symbol", ccxt.BadSymbol, exchange.publicGetTicker24hr({"symbol": "NOPE"}))
    await refuses("an old timestamp", ccxt.InvalidNonce, exchange.privateGetAccount({"timestamp": 1}))
    await refuses("a price off the tick", ccxt.InvalidOrder, raw(price=f"{last * 0.9:.2f}1"))
    await refuses("too small an order", ccxt.BadRequest, raw(quantity="0.00001"))
    await refuses("a quantity that is no number", ccxt.BadRequest, raw(quantity="abc"))
    for claim, stranger in [("a wrong secret", client(secret="wrong")), ("an unknown key", client(key="wrong" * 12))]:
        try:
            await refuses(claim, ccxt.AuthenticationError, stranger.privateGetAccount())
        finally:
            await stranger.close()


async def main():
    exchange = client()
    try:
        await be_refused(exchange, await trade(exchange))
    finally:
        await exchange.close()


asyncio.run(main())
