"""One Didit session, by the same steps as in the API's guide to Python: URL API_KEY.

The key is drawn before the first attempt, and the second attempt has the same. Prints the session,
and what went wrong before there was one.
"""

import json
import sys
import uuid

import requests

url, api_key = sys.argv[1:]


def create_session(vendor_data, idempotency_key):
    headers = {
        "Content-Type": "application/json",
        "x-api-key": api_key,
        "Idempotency-Key": idempotency_key,
    }
    payload = {
        "workflow_id": "wkf_kyc_full",
        "vendor_data": vendor_data,
        "callback": "https://shop.example/didit",
    }
    response = requests.post(url, headers=headers, data=json.dumps(payload))
    response.raise_for_status()
    return response.json()


key = str(uuid.uuid4())
failures = []
try:
    session = create_session("user_12345", key)
except requests.exceptions.RequestException as failure:
    failures.append(type(failure).__name__)
    session = create_session("user_12345", key)

print(json.dumps({"failures": failures, "session": session}))
