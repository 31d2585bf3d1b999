"""Calls of Stripe's SDK, as it is: API REQUEST, a JSON object.

Members of REQUEST: `retries`, which the SDK does by itself, and `calls`, each with `create` (what),
`params` and `options`. They are made one after the other, or, where REQUEST has the URL of a
`ledger`, at once, as soon as it shows that the first of them is running. Prints what came of each.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import requests
import stripe

api, request = sys.argv[1], json.loads(sys.argv[2])
client = stripe.StripeClient(
    "sk_test_your_key_here",
    base_addresses={"api": api},
    max_network_retries=request["retries"],
)


def create(call):
    service = getattr(client.v1, call["create"])
    try:
        made = service.create(params=call["params"], options=call["options"])
    except stripe.StripeError as error:
        return {
            "error": type(error).__name__,
            "status": error.http_status,
            "code": error.error.code if error.error else None,
            "replayed": (error.headers or {}).get("Idempotent-Replayed"),
        }
    headers = made.last_response.headers
    return {"id": made.id, "object": made.object, "replayed": headers.get("Idempotent-Replayed")}


def create_at_once(first, *others):
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(create, first)]
        ledger = request["ledger"]
        while not running[0].done() and not requests.get(ledger, timeout=25).json()["executions"]:
            time.sleep(0.02)
        running += [pool.submit(create, call) for call in others]
        return [call.result() for call in running]


calls = request["calls"]
results = create_at_once(*calls) if "ledger" in request else [create(call) for call in calls]
print(json.dumps(results))
