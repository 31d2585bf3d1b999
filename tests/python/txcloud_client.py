"""A client of the TXCloud API with the retries that its documents advise: API API_KEY OPERATION.

The operations: `verify` draws a key and keeps it through its retries; `pay` makes the key of its
order, is called twice for it, and then once more for another amount. Prints every answer.
"""

import json
import sys
import time
import uuid

import requests

api, api_key, operation = sys.argv[1:]


def is_retryable(error):
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in (409, 429, 500, 502, 503, 504)
    return isinstance(error, requests.ConnectionError)


def safely(request, max_retries=3):
    """Makes a request under one key, with pauses of 1, 2, 4 ... seconds."""
    idempotency_key = str(uuid.uuid4())
    for attempt in range(max_retries):
        try:
            return request(idempotency_key)
        except requests.RequestException as error:
            if not is_retryable(error) or attempt == max_retries - 1:
                raise
            time.sleep(2**attempt)


def post(path, idempotency_key, parameters):
    headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": idempotency_key}
    return requests.post(api + path, headers=headers, json=parameters)


def verify(idempotency_key):
    parameters = {"document_front": "aGVsbG8=", "country": "MA"}
    response = post("/v1/identity/verify", idempotency_key, parameters)
    response.raise_for_status()
    return response


def pay(user_id, amount, order_id):
    parameters = {
        "transaction_id": order_id,
        "amount": amount,
        "currency": "MAD",
        "sender": {"user_id": user_id},
    }
    return post("/v1/transactions/score", f"payment_{order_id}", parameters)


if operation == "verify":
    answers = [safely(verify)]
else:
    answers = [pay("user_123", amount, "order_456") for amount in (1000, 1000, 2000)]

names = ["Idempotency-Key", "Idempotent-Replayed", "X-Request-Id"]
seen = [
    {"status": answer.status_code, "body": answer.json()}
    | {name: answer.headers.get(name) for name in names}
    for answer in answers
]
print(json.dumps(seen))
