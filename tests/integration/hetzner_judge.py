"""The stand-in for Hetzner's API, judged by the OpenAPI document where that is to be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from hcloud import Client

from tests.testbed.hetzner.contract import VARIABLE, Contract, document_path
from tests.testbed.hetzner.server import HetznerApi

PACE = 0.2  # of the stand-in's own time; clients poll every POLL seconds
POLL = 0.02
ACTION_SECONDS = 60  # a machine that starts on a busy computer
WITHOUT = f"there is no OpenAPI document of Hetzner's; set {VARIABLE}"


@lru_cache(maxsize=1)
def contract() -> Contract | None:
    path = document_path()
    return Contract.load(path) if path else None


@contextmanager
def judged(**how: Any) -> Iterator[HetznerApi]:
    """The stand-in; whatever it answered must be as the document has it."""
    with HetznerApi(**{"pace": PACE, "contract": contract(), **how}) as made:
        yield made
    assert made.app.violations == []


def client_of(cloud: HetznerApi, token: str = "") -> Any:
    tries = int(ACTION_SECONDS / POLL)
    where = cloud.endpoint
    return Client(token or cloud.token, api_endpoint=where, poll_interval=POLL, poll_max_retries=tries, timeout=10)
