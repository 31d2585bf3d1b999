"""POSTs by `requests` with the retries of its own adapter: URL REQUEST, a JSON object.

Members of REQUEST: `headers`, `json`, and `calls`, how often the application itself goes on when a
call fails. Prints the last answer, and what went wrong before.
"""

import json
import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

url, request = sys.argv[1], json.loads(sys.argv[2])
retry = Retry(
    total=8,
    allowed_methods={"POST"},
    status_forcelist=[409, 503],
    respect_retry_after_header=True,
    backoff_factor=0.1,
)
session = requests.Session()
session.mount("http://", HTTPAdapter(max_retries=retry))

failures = []
for _ in range(request["calls"]):
    try:
        answer = session.post(url, headers=request["headers"], json=request["json"], timeout=25)
        break
    except requests.RequestException as failure:
        failures.append(type(failure).__name__)
else:
    sys.exit(f"no call was answered: {failures}")

print(
    json.dumps(
        {
            "failures": failures,
            "status": answer.status_code,
            "replayed": answer.headers.get("Idempotent-Replayed"),
            "body": answer.json(),
        }
    )
)
