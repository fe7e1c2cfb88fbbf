"""Waiting for certificates: until every name has one, or with what the authority said."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.cluster import acme, served
from binder_node.cluster.served import Served
from binder_node.errors import DeadlineError
from binder_node.events import silent
from binder_node.node import Access
from tests.unit.host_samples import sample_spec

SPEC = sample_spec(tls={"mode": "acme", "email": "ops@example.org"})
ACCESS = Access("bids-1", "198.51.100.7", 22, "root", Path("k"), Path("h"), Path("c"))
REFUSED = "2026-11-21T12:00:00Z ERR Unable to obtain ACME certificate for domains error=refused"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands that the machine was given; its log has a refusal."""
    commands: list[str] = []

    def run(access: Access, script: str, **_: Any) -> remote.Result:
        del access
        commands.append(script)
        return remote.Result(0, REFUSED if " logs " in script else "", "")

    monkeypatch.setattr(remote, "run", run)
    monkeypatch.setattr(acme, "SECONDS", 0.05)
    monkeypatch.setattr(acme, "POLL_SECONDS", 0.01)
    return commands


def looks(monkeypatch: pytest.MonkeyPatch, *answers: list[Served]) -> None:
    """What the node shows at each look; the last stays."""
    left = list(answers)
    look: Callable[..., list[Served]] = lambda *_: left.pop(0) if len(left) > 1 else left[0]  # noqa: E731
    monkeypatch.setattr(served, "look", look)


GOOD = [Served("bids.example.org", days=89), Served("hub.bids.example.org", days=89)]
BAD = [GOOD[0], Served("hub.bids.example.org", trouble="nobody trusts its certificate: self-signed")]


def test_it_waits_until_every_name_has_one(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, BAD, BAD, GOOD)
    acme.wait(SPEC, ACCESS, "198.51.100.7", ssl.create_default_context(), silent, again=False)
    assert asked == []


def test_what_was_ordered_and_not_had_is_ordered_again(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, GOOD)
    acme.wait(SPEC, ACCESS, "198.51.100.7", ssl.create_default_context(), silent, again=True)
    assert asked == ["k3s kubectl rollout restart -n kube-system deployment/traefik"]


def test_the_deadline_tells_what_the_authority_said(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, BAD)
    with pytest.raises(DeadlineError) as caught:
        acme.wait(SPEC, ACCESS, "198.51.100.7", ssl.create_default_context(), silent, again=False)
    told = str(caught.value)
    assert "for certificates for hub.bids.example.org" in told
    assert "self-signed" in told
    assert "error=refused" in told
    assert "port 80 open" in told
    assert len(asked) == 1
