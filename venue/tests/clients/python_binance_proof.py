"""python-binance, unpatched, trades on the simulated venue."""

import asyncio

from binance import AsyncClient, BinanceSocketManager, Client
from binance.exceptions import BinanceAPIException

from checks import KEY, SECRET, STREAM, URL, check

SYMBOL = "BTCUSDT"
SECONDS = 20


def point():
    """Both clients talk to the venue; the addresses are theirs to be set before they are made."""
    for client in (Client, AsyncClient):
        client.API_URL = URL + "/api"


async def first(socket):
    """The first message of a stream."""
    async with socket as stream:
        return await asyncio.wait_for(stream.recv(), SECONDS)


async def event_until(user, claim, wanted):
    """Reads the user stream on until an event is the wanted one."""
    seen = []
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                event = await user.recv()
                seen.append(event)
                if wanted(event):
                    check(claim, True, event)
                    return event
    except TimeoutError:
        check(claim, False, seen)


def is_report(order_id, execution, status):
    return lambda event: (event.get("e"), event.get("i"), event.get("x"), event.get("X")) == (
        "executionReport", order_id, execution, status)


async def watch(sockets):
    """Every public stream that the client offers for one pair."""
    trade = await first(sockets.trade_socket(SYMBOL))
    check("public trades arrive", trade["e"] == "trade" and float(trade["p"]) > 0, trade)
    ticker = await first(sockets.symbol_ticker_socket(SYMBOL))
    check("tickers arrive", ticker["e"] == "24hrTicker" and float(ticker["c"]) > 0, ticker)
    book = await first(sockets.symbol_book_ticker_socket(SYMBOL))
    check("the best bid is below the best ask", float(book["b"]) < float(book["a"]), book)
    aggregate = await first(sockets.aggtrade_socket(SYMBOL))
    check("aggregate trades arrive", aggregate["e"] == "aggTrade", aggregate)
    candle = await first(sockets.kline_socket(SYMBOL))
    check("candles arrive", candle["e"] == "kline" and candle["k"]["i"] == "1m", candle)
    depth = await first(sockets.depth_socket(SYMBOL))
    check("changes of the book arrive", depth["e"] == "depthUpdate" and depth["U"] <= depth["u"], depth)
    levels = await first(sockets.depth_socket(SYMBOL, depth=BinanceSocketManager.WEBSOCKET_DEPTH_5))
    check("the five best levels arrive", len(levels["bids"]) == 5, levels)
    both = [f"{SYMBOL.lower()}@trade", f"{SYMBOL.lower()}@bookTicker"]
    combined = await first(sockets.multiplex_socket(both))
    check("combined streams are named", combined["stream"] in both, combined)


async def trade(client, user, last):
    """A market order and its fill, then a limit order and its cancel, over a socket and over HTTP."""
    quantity = f"{100 / last:.5f}"
    bought = await client.ws_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=quantity)
    check("a market order fills", bought["status"] == "FILLED", bought)
    fill = await event_until(user, "the user stream tells of the fill",
                             is_report(bought["orderId"], "TRADE", "FILLED"))
    check("with its fee", fill["N"] == "BTC" and float(fill["n"]) > 0, fill)
    held = await event_until(user, "and of the balances",
                             lambda event: event.get("e") == "outboundAccountPosition")
    check("both coins are told", {balance["a"] for balance in held["B"]} >= {"BTC", "USDT"}, held)

    price = f"{last * 0.9:.2f}"
    resting = await client.create_order(symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC",
                                        quantity=quantity, price=price)
    await event_until(user, "the user stream tells of a new order", is_report(resting["orderId"], "NEW", "NEW"))
    # This client cancels with its parameters in a form body.
    canceled = await client.cancel_order(symbol=SYMBOL, orderId=resting["orderId"])
    check("a cancel names its order", canceled["origClientOrderId"] == resting["clientOrderId"], canceled)
    event = await event_until(user, "the user stream tells of the cancel",
                              is_report(resting["orderId"], "CANCELED", "CANCELED"))
    check("under the order's id", event["C"] == resting["clientOrderId"], event)

    placed = await client.ws_order_limit_buy(symbol=SYMBOL, quantity=quantity, price=price)
    open_orders = await client.ws_get_open_orders(symbol=SYMBOL)
    check("an order placed over a socket rests", placed["orderId"] in [o["orderId"] for o in open_orders],
          open_orders)
    asked = await client.ws_get_order(symbol=SYMBOL, orderId=placed["orderId"])
    check("it can be asked for", asked["status"] == "NEW", asked)
    canceled = await client.ws_cancel_order(symbol=SYMBOL, orderId=placed["orderId"])
    check("it can be cancelled over a socket", canceled["status"] == "CANCELED", canceled)
    return bought["orderId"]


def look_back(client, bought):
    """What the synchronous client finds afterwards."""
    mine = client.get_my_trades(symbol=SYMBOL)
    check("the fill is listed with its fee",
          any(fill["orderId"] == bought and float(fill["commission"]) > 0 for fill in mine), mine)
    orders = client.get_all_orders(symbol=SYMBOL)
    check("every order is listed", [order["status"] for order in orders] == ["FILLED", "CANCELED", "CANCELED"],
          orders)
    check("no order is open", client.get_open_orders(symbol=SYMBOL) == [], orders)
    after = {balance["asset"]: balance for balance in client.get_account()["balances"]}
    check("nothing stays locked", all(float(balance["locked"]) == 0 for balance in after.values()), after)
    check("bought coins are there less the fee",
          abs(float(after["BTC"]["free"]) - sum(float(f["qty"]) - float(f["commission"]) for f in mine)) < 1e-9,
          after)


def be_refused(client, last):
    def refuses(claim, code, call):
        try:
            answer = call()
        except BinanceAPIException as error:
            check(claim, error.code == code, error)
        else:
            check(claim, False, answer)

    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001",
             "price": f"{last * 0.9:.2f}"}
    refuses("too large an order", -2010, lambda: client.create_order(**order | {"quantity": "100"}))
    refuses("an unknown order's cancel", -2011, lambda: client.cancel_order(symbol=SYMBOL, orderId=999999999))
    refuses("an unknown order", -2013, lambda: client.get_order(symbol=SYMBOL, orderId=999999999))
    refuses("an unknown symbol", -1121, lambda: client.get_ticker(symbol="NOPE"))
    refuses("too small an order", -1013, lambda: client.create_order(**order | {"quantity": "0.00001"}))
    refuses("a quantity that is no number", -1100, lambda: client.create_order(**order | {"quantity": "1e-05"}))
    refuses("a wrong secret", -1022, Client(KEY, "wrong").get_account)


async def live(last):
    client = AsyncClient(KEY, SECRET)
    client.ws_api._url = STREAM + "/ws-api/v3"
    sockets = BinanceSocketManager(client)
    sockets.STREAM_URL = STREAM + "/"
    try:
        await watch(sockets)
        async with sockets.user_socket() as user:
            return await trade(client, user, last)
    finally:
        await client.close_connection()


def main():
    point()
    client = Client(KEY, SECRET)
    listed = client.get_symbol_info(SYMBOL)
    check("the pair is listed", listed["status"] == "TRADING", listed)
    check("the venue's clock is told", client.get_server_time()["serverTime"] > 0, None)
    check("the balance is there", float(client.get_asset_balance("USDT")["free"]) > 0, None)
    last = float(client.get_symbol_ticker(symbol=SYMBOL)["price"])
    bought = asyncio.run(live(last))
    look_back(client, bought)
    be_refused(client, last)


main()
