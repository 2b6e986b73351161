"""Binance's own SDK, unpatched, trades on the simulated venue and finds every answer of the type it declares."""

import asyncio
import logging

from binance_common.configuration import (ConfigurationRestAPI, ConfigurationWebSocketAPI,
                                          ConfigurationWebSocketStreams)
from binance_sdk_spot.spot import Spot

from checks import KEY, SECRET, STREAM, URL, check

SYMBOL = "BTCUSDT"
SECONDS = 20


class Complaints(logging.Handler):
    """Keeps what the SDK complains of: an answer of another shape is a warning to it, not an error."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.kept = []

    def emit(self, record):
        self.kept.append(record.getMessage())


def watched_log():
    complaints = Complaints()
    logging.captureWarnings(True)
    for name in (None, "ConnectorLogger"):
        logging.getLogger(name).addHandler(complaints)
    return complaints


def client(secret=SECRET):
    keys = {"api_key": KEY, "api_secret": secret}
    return Spot(config_rest_api=ConfigurationRestAPI(base_path=URL, retries=0, **keys),
                config_ws_streams=ConfigurationWebSocketStreams(stream_url=STREAM),
                config_ws_api=ConfigurationWebSocketAPI(stream_url=STREAM + "/ws-api/v3", **keys))


async def listen(handle):
    """What a stream tells, as a queue."""
    messages = asyncio.Queue()
    handle.on("message", messages.put_nowait)
    return messages


async def event_until(events, claim, wanted):
    """Reads the user stream on until an event is the wanted one."""
    seen = []
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                event = (await events.get()).actual_instance
                seen.append(event)
                if wanted(event):
                    check(claim, True, event)
                    return event
    except TimeoutError:
        check(claim, False, seen)


def is_report(order_id, execution, status):
    # The SDK tells events apart by their class; it keeps no field for the name.
    return lambda event: type(event).__name__ == "ExecutionReport" and (event.i, event.x, event.X) == (
        order_id, execution, status)


async def watch(spot):
    """Every public stream that the venue plays."""
    streams = await spot.websocket_streams.create_connection()
    symbol = SYMBOL.lower()
    handles = {
        "public trades": await streams.trade(symbol=symbol),
        "aggregate trades": await streams.agg_trade(symbol=symbol),
        "best bids and asks": await streams.book_ticker(symbol=symbol),
        "tickers": await streams.ticker(symbol=symbol),
        "small tickers": await streams.mini_ticker(symbol=symbol),
        "candles": await streams.kline(symbol=symbol, interval="1m"),
        "changes of the book": await streams.diff_book_depth(symbol=symbol),
        "fast changes of the book": await streams.diff_book_depth(symbol=symbol, update_speed="100ms"),
        "the best levels": await streams.partial_book_depth(symbol=symbol, levels="5"),
    }
    queues = {name: await listen(handle) for name, handle in handles.items()}
    for name, queue in queues.items():
        try:
            message = await asyncio.wait_for(queue.get(), SECONDS)
        except TimeoutError:
            check(f"{name} arrive", False, "nothing came")
        check(f"{name} arrive", True, message)
    await streams.close_connection(close_session=True)


def look(rest):
    """Every public question over HTTP; each answer is read by its model."""
    info = rest.exchange_info(symbol=SYMBOL).data()
    check("the pair is listed", [listed.symbol for listed in info.symbols] == [SYMBOL], info.symbols)
    check("the venue's clock is told", rest.time().data().server_time > 0, None)
    rest.ping()
    book = rest.depth(symbol=SYMBOL, limit=10).data()
    check("the book has both sides", book.bids and book.asks, book)
    rest.get_trades(symbol=SYMBOL)
    rest.historical_trades(symbol=SYMBOL)
    rest.agg_trades(symbol=SYMBOL)
    rest.klines(symbol=SYMBOL, interval="1m")
    rest.ui_klines(symbol=SYMBOL, interval="1m")
    rest.avg_price(symbol=SYMBOL)
    rest.ticker_book_ticker(symbol=SYMBOL)
    rest.ticker_book_ticker()
    rest.ticker24hr(symbol=SYMBOL)
    rest.ticker24hr()
    rest.ticker_price()
    return float(rest.ticker_price(symbol=SYMBOL).data().actual_instance.price)


async def trade(spot, last):
    """A market order and its fill, then limit orders and their cancels, over a socket and over HTTP."""
    rest = spot.rest_api
    quantity, price = round(100 / last, 5), round(last * 0.9, 2)
    api = await spot.websocket_api.create_connection()
    user = await api.user_data_stream_subscribe_signature()
    events = await listen(user.stream)

    answer = (await api.order_place(symbol=SYMBOL, side="BUY", type="MARKET", quantity=quantity)).data()
    bought = answer.result
    check("a market order fills", bought.status == "FILLED", bought)
    fill = await event_until(events, "the user stream tells of the fill",
                             is_report(bought.order_id, "TRADE", "FILLED"))
    check("with its fee", fill.N == "BTC" and float(fill.n) > 0, fill)
    await event_until(events, "and of the balances",
                      lambda event: type(event).__name__ == "OutboundAccountPosition")

    limit = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": quantity,
             "price": price}
    rest.order_test(**limit)
    rest.order_test(**limit, compute_commission_rates=True)
    resting = rest.new_order(**limit).data()
    await event_until(events, "the user stream tells of a new order",
                      is_report(resting.order_id, "NEW", "NEW"))
    check("it can be asked for", rest.get_order(symbol=SYMBOL, order_id=resting.order_id).data().status == "NEW",
          resting)
    open_orders = rest.get_open_orders(symbol=SYMBOL).data()
    check("it is open", [order.order_id for order in open_orders] == [resting.order_id], open_orders)
    canceled = rest.delete_order(symbol=SYMBOL, order_id=resting.order_id).data()
    check("a cancel names its order", canceled.orig_client_order_id == resting.client_order_id, canceled)
    await event_until(events, "the user stream tells of the cancel",
                      is_report(resting.order_id, "CANCELED", "CANCELED"))

    for form in ("ACK", "RESULT", "FULL"):
        rest.new_order(**limit, new_order_resp_type=form)
    check("all open orders are cancelled at once", len(rest.delete_open_orders(symbol=SYMBOL).data()) == 3, None)

    placed = (await api.order_place(**limit)).data().result
    status = (await api.order_status(symbol=SYMBOL, order_id=placed.order_id)).data().result.status
    check("an order placed over a socket rests", status == "NEW", placed)
    await api.open_orders_status(symbol=SYMBOL)
    await api.order_cancel(symbol=SYMBOL, order_id=placed.order_id)
    await api.order_test(**limit)
    for ask in (api.account_status(), api.account_commission(symbol=SYMBOL), api.account_rate_limits_orders(),
                api.all_orders(symbol=SYMBOL), api.my_trades(symbol=SYMBOL), api.ping(), api.time(),
                api.exchange_info(symbol=SYMBOL), api.depth(symbol=SYMBOL), api.klines(symbol=SYMBOL, interval="1m"),
                api.trades_recent(symbol=SYMBOL), api.trades_aggregate(symbol=SYMBOL), api.avg_price(symbol=SYMBOL),
                api.ticker24hr(symbol=SYMBOL), api.ticker_price(symbol=SYMBOL), api.ticker_book(symbol=SYMBOL),
                api.session_subscriptions()):
        (await ask).data()
    await api.user_data_stream_unsubscribe(subscription_id=0)
    await api.close_connection(close_session=True)
    return bought.order_id


def look_back(rest, bought):
    """What can be asked afterwards."""
    mine = rest.my_trades(symbol=SYMBOL).data()
    check("the fill is listed with its fee",
          any(fill.order_id == bought and float(fill.commission) > 0 for fill in mine), mine)
    orders = rest.all_orders(symbol=SYMBOL).data()
    check("every order is listed", [order.status for order in orders] == ["FILLED"] + ["CANCELED"] * 5, orders)
    rest.rate_limit_order()
    rest.account_commission(symbol=SYMBOL)
    balances = rest.get_account(omit_zero_balances=True).data().balances
    check("nothing stays locked", balances and all(float(held.locked) == 0 for held in balances), balances)


def be_refused(spot, last):
    def refuses(claim, message, call):
        try:
            answer = call()
        except Exception as error:  # The SDK has a class per status; the text is what tells refusals apart.
            check(claim, message in str(error), error)
        else:
            check(claim, False, answer)

    rest = spot.rest_api
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": 0.001,
             "price": round(last * 0.9, 2)}
    refuses("too large an order", "insufficient balance", lambda: rest.new_order(**order | {"quantity": 100.0}))
    refuses("an unknown order's cancel", "Unknown order sent.",
            lambda: rest.delete_order(symbol=SYMBOL, order_id=999999999))
    refuses("an unknown order", "Order does not exist.",
            lambda: rest.get_order(symbol=SYMBOL, order_id=999999999))
    refuses("an unknown symbol", "Invalid symbol.", lambda: rest.ticker_price(symbol="NOPE"))
    # A small float reaches the venue as 1e-05.
    refuses("a quantity in scientific notation", "Illegal characters found in parameter 'quantity'",
            lambda: rest.new_order(**order | {"quantity": 0.00001}))
    refuses("a wrong secret", "Signature for this request is not valid.",
            lambda: client(secret="wrong").rest_api.get_account())


async def main():
    complaints = watched_log()
    spot = client()
    last = look(spot.rest_api)
    before = {held.asset: held for held in spot.rest_api.get_account().data().balances}
    check("the balance is there", float(before["USDT"].free) > 0, before)
    await watch(spot)
    # Those whose answers were empty before the market moved.
    look(spot.rest_api)
    look_back(spot.rest_api, await trade(spot, last))
    be_refused(spot, last)
    check("every answer is of the type that the SDK declares", not complaints.kept, "\n".join(complaints.kept))


asyncio.run(main())
