"""Runs on the node, with Python's standard library only: asks the node's registries, under the names that images have.

In by stdin, as JSON: ``{"push": URL, "pull": URL, "cache": URL, "logins": {NAME: [USER, PASSWORD]}, "asks": [ASK,
...]}``, where an ask is ``{"name": ..., "at": "push" | "pull" | "cache", "login": NAME | "", "method": ..., "path":
..., "accept": ...}``; with ``"image": {...}`` also an image that is to be pushed (see :func:`push`). Out:
``{NAME: {"status": ..., "reason": ..., "type": ..., "digest": ..., "sha256": ..., "size": ...}}``; status 0 where
nobody answered.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import sys
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urljoin, urlsplit

SECONDS = 10
# A registry of the node's own: no proxy is between.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


ELSEWHERE = {"status": 0, "reason": "its name leads elsewhere: nothing was asked"}


def request(
    method: str, url: str, login: list[str] | None, data: bytes | None = None, **headers: str
) -> tuple[dict[str, Any], dict[str, str], bytes]:
    """One request: what is to be told of its answer, the answer's headers in lower case, its body."""
    asked = urllib.request.Request(url, data=data, method=method, headers=headers)
    if login:
        asked.add_header("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode())
    try:
        with OPENER.open(asked, timeout=SECONDS) as answer:
            status, found, body = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, found, body = error.code, error.headers, error.read()
    except (OSError, http.client.HTTPException) as error:  # what is no HTTP is no answer
        return {"status": 0, "reason": str(getattr(error, "reason", error)) or type(error).__name__}, {}, b""
    about = {name.lower(): value for name, value in found.items()}
    told = {
        "status": status,
        "reason": "" if status < 400 else body[:300].decode(errors="replace"),
        "type": about.get("content-type", ""),
        "digest": about.get("docker-content-digest", ""),
        "size": int(about.get("content-length") or len(body)),
    }
    if method == "GET":
        told["sha256"] = "sha256:" + hashlib.sha256(body).hexdigest()
    return told, about, body


def ask(question: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """The answer to one ask."""
    login = question["logins"].get(one.get("login", ""))
    headers = {"Accept": one["accept"]} if one.get("accept") else {}
    if not question["own"][one["at"]]:
        return ELSEWHERE
    url = question[one["at"]] + one["path"]
    told, about, body = request(one["method"], url, login, b"" if one["method"] == "POST" else None, **headers)
    if one.get("body") and told["status"] == 200:
        told["body"] = body.decode(errors="replace")
    if one["method"] == "POST" and told["status"] == 202:  # an upload that should have been refused
        request("DELETE", urljoin(url, about["location"]), login)
    return told


def push(question: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Push blobs and a manifest, all given in base 64, as ``image["login"]`` to ``image["at"]``; the last answer, or
    the first one that refused."""
    if not question["own"][image["at"]]:
        return ELSEWHERE
    login, root = question["logins"][image["login"]], f"{question[image['at']]}/v2/{image['repository']}"
    for blob in image["blobs"]:
        data = base64.b64decode(blob)
        told, about, _ = request("POST", f"{root}/blobs/uploads/", login, b"")
        if told["status"] != 202:
            return {**told, "step": "begin an upload"}
        where = urljoin(f"{root}/blobs/uploads/", about["location"])
        where += ("&" if "?" in where else "?") + f"digest=sha256:{hashlib.sha256(data).hexdigest()}"
        told, _, _ = request("PUT", where, login, data, **{"Content-Type": "application/octet-stream"})
        if told["status"] != 201:
            return {**told, "step": "upload a layer"}
    told, _, _ = request(
        "PUT",
        f"{root}/manifests/{image['tag']}",
        login,
        base64.b64decode(image["manifest"]),
        **{"Content-Type": image["type"]},
    )
    return {**told, "step": "put the manifest"}


def resolved(url: str) -> list[str]:
    """The addresses that the node itself has for a URL's name."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, urlsplit(url).port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(item[4][0]) for item in found})


def main() -> None:
    """Answer the question on stdin."""
    question = json.load(sys.stdin)
    addresses = resolved(question["push"])
    # Another machine is shown no password.
    question["own"] = {"push": addresses == ["127.0.0.1"], "pull": True, "cache": True}
    answers: dict[str, Any] = {"addresses": addresses}
    if "image" in question:
        answers["pushed"] = push(question, question["image"])
    for one in question["asks"]:
        answers[one["name"]] = ask(question, one)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
