"""What Stripe's own library signs is taken, and what is forged, altered or stale is refused.

The account of BOTPRIMEX_KEY at BOTPRIMEX_URL is linked to the customer `cus_proof` and to the connected account
`acct_proof`; the server's secret is in STRIPE_SECRET. Every header is made, and verified, by PyPI's `stripe`. Ends with
0 only if all that is good changed what it should, once, and nothing else did.
"""

import json
import os
import time
import urllib.error
import urllib.request

import stripe

URL, KEY, SECRET = os.environ["BOTPRIMEX_URL"], os.environ["BOTPRIMEX_KEY"], os.environ["STRIPE_SECRET"]
now = int(time.time())


def answer(request):
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def get(path):
    request = urllib.request.Request(URL + path, headers={"authorization": "Bearer " + KEY})
    status, body = answer(request)
    assert status == 200, body
    return body


def signed(body, secret=SECRET, at=None):
    header = stripe.WebhookSignature.generate_signature_header(body, secret, timestamp=at or now)
    return header


def deliver(event, header=None):
    body = json.dumps(event)
    header = header or signed(body)
    request = urllib.request.Request(URL + "/v1/integrations/stripe", body.encode(), method="POST")
    request.add_header("stripe-signature", header)
    return answer(request)


def subscription(id, kind, created, status, lookup_key):
    price = {"id": "price_1", "object": "price", "lookup_key": lookup_key}
    item = {"id": "si_1", "price": price, "current_period_start": now, "current_period_end": now + 2_592_000}
    subscription = {
        "id": "sub_1", "object": "subscription", "customer": "cus_proof", "status": status,
        "cancel_at_period_end": False, "pause_collection": None, "items": {"object": "list", "data": [item]},
    }
    return {"id": id, "object": "event", "type": "customer.subscription." + kind, "created": created,
            "livemode": False, "data": {"object": subscription}}


def payout(id, kind, created):
    paid = {"id": "po_1", "object": "payout", "amount": 12_350, "currency": "usd", "status": kind}
    return {"id": id, "object": "event", "type": "payout." + kind, "created": created, "account": "acct_proof",
            "livemode": False, "data": {"object": paid}}


def outcome(event):
    status, body = deliver(event)
    assert status == 200 and body["received"], (status, body)
    return body["outcome"]


def told(kind):
    return [event["data"] for event in get("/v1/events?limit=100")["data"] if event["event"] == kind]


bought = subscription("evt_1", "created", now, "active", "pro")
text = json.dumps(bought)
stripe.Webhook.construct_event(text, signed(text), SECRET)
for why, header in [
    ("another secret", signed(text, secret="whsec_of_somebody_else")),
    ("another body", signed(text + " ")),
    ("an hour old", signed(text, at=now - 3_600)),
    ("no signature", "t=1"),
]:
    status, _ = deliver(bought, header)
    assert 400 <= status < 500, (why, status)
assert get("/v1/account")["plan"] == "standard", "nothing of what was refused counts"

assert outcome(bought) == "applied"
assert outcome(bought) == "repeated"
assert get("/v1/account/subscription")["plan"] == "pro"
assert outcome(subscription("evt_3", "updated", now + 2, "active", "enterprise")) == "applied"
assert outcome(subscription("evt_2", "updated", now + 1, "past_due", "standard")) == "older"
assert get("/v1/account/subscription")["plan"] == "enterprise"
changes = told("subscription.changed")
assert [change["plan"] for change in changes] == ["enterprise", "pro"], changes
assert changes[0]["previous"]["plan"] == "pro", changes[0]

assert outcome(payout("evt_4", "paid", now)) == "applied"
assert outcome(payout("evt_4", "paid", now)) == "repeated"
paid = told("payout.processed")
assert len(paid) == 1 and paid[0]["status"] == "paid" and paid[0]["gross"] == 123.5, paid
print("python: what stripe signs sets the plan and tells of the payout; forged, altered and stale events are refused")
