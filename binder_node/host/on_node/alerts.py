"""What Prometheus and Alertmanager of this node say; and, where asked to, tell one alert to see whether it gets out.

Sent over ssh, run by the node's own python3: standard library only, nothing newer than Python 3.10. The question comes
as JSON on stdin, the answer goes as JSON to stdout.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

ANSWER = 10
# Counted when a request has ended, unlike `alertmanager_notifications_total` (its notify/retry_stage.go).
ENDED, FAILED = "alertmanager_notification_requests_total", "alertmanager_notification_requests_failed_total"
Counts = dict[str, dict[str, float]]


def ask(port: int, path: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=ANSWER) as answer:
        found: bytes = answer.read()
    return found


def counted(text: str) -> Counts:
    """Requests that ended and those of them that failed, by the way they took. Pure.

    >>> counted('alertmanager_notification_requests_failed_total{integration="email"} 3')[FAILED]
    {'email': 3.0}
    """
    found: Counts = {ENDED: {}, FAILED: {}}
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        if name in found and 'integration="' in rest:
            way, value = rest.split('integration="')[1].split('"')[0], float(line.rsplit(" ", 1)[1])
            found[name][way] = found[name].get(way, 0) + value
    return found


def more(name: str, before: Counts, after: Counts) -> dict[str, float]:
    """How many more by each way. Pure."""
    return {way: count - before[name].get(way, 0) for way, count in after[name].items()}


def told(port: int, alert: dict[str, Any], ways: dict[str, int], seconds: float) -> dict[str, str]:
    """By each way (with how many there are of it): ``sent``, ``failed``, or ``waits``."""
    before = counted(ask(port, "/metrics").decode())
    ask(port, "/api/v2/alerts", [alert])
    deadline = time.monotonic() + seconds
    found: dict[str, str] = {}
    while time.monotonic() < deadline:
        now, last = counted(ask(port, "/metrics").decode()), found
        ended, failed = more(ENDED, before, now), more(FAILED, before, now)
        found = {
            way: "failed" if failed.get(way, 0) > 0 else "sent" if ended.get(way, 0) >= count else "waits"
            for way, count in ways.items()
        }
        # Twice: one that failed is counted as ended a moment before it is counted as failed.
        if found == last and "waits" not in found.values():
            break
        time.sleep(0.5)
    return found


def main() -> None:
    asked = json.load(sys.stdin)
    answer: dict[str, Any] = {}
    try:
        port = asked["prometheus"]
        answer["alerts"] = json.loads(ask(port, "/api/v1/alerts"))["data"]["alerts"]
        answer["targets"] = json.loads(ask(port, "/api/v1/targets?state=active"))["data"]["activeTargets"]
        answer["rules"] = json.loads(ask(port, "/api/v1/rules"))["data"]["groups"]
        if asked.get("tell"):
            answer["told"] = told(asked["alertmanager"], asked["tell"], asked["ways"], asked["seconds"])
    except (OSError, urllib.error.URLError, ValueError) as error:
        answer["error"] = str(error)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
