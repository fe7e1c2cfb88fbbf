"""Whom a load may be sent to: the operator's own, and nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.errors import InputError, StepError
from binder_node.lifecycle.loading import Own, federation_target, named_target, node_target
from binder_node.node import Access
from tests.integration.binder_server import Played, played
from tests.unit.host_samples import sample_spec

HERE, ELSEWHERE = "198.51.100.7", "192.0.2.1"


def own(name: str = "bids-1", binder: str = "bids.example.org", address: str = HERE) -> Own:
    names = {"binder": binder, "hub": f"hub.{binder}", "registry": f"registry.{binder}"}
    nowhere = Path("/nowhere")
    access = Access(name, address, 22, "root", nowhere, nowhere, nowhere)
    return Own(sample_spec(name=name, names=names), access, address)


@pytest.fixture
def redirector() -> Iterator[Played]:
    with played() as found:
        yield found


def sends_to(redirector: Played, *members: str) -> str:
    """The redirector's URL."""
    hosts = {url: {"url": url, "weight": 1} for url in members}
    redirector.routes["GET /active_hosts"] = lambda to: to.reply(200, {"active_hosts": hosts})
    return f"http://127.0.0.1:{redirector.port}/"


def test_a_node_is_asked_at_its_machines_own_address() -> None:
    target = node_target(own())
    assert (target.url, target.redirector) == ("http://bids.example.org", False)
    assert target.addresses == {"bids.example.org": HERE, "hub.bids.example.org": HERE}


def test_a_federation_of_ones_own(redirector: Played) -> None:
    nodes = [own(), own("gesis", "gesis.example.org", ELSEWHERE)]
    front = sends_to(redirector, "http://bids.example.org", "http://gesis.example.org/")
    target = federation_target(front, nodes)
    assert (target.redirector, target.members) == (True, frozenset(node.url for node in nodes))
    assert target.addresses["hub.gesis.example.org"] == ELSEWHERE


def test_a_redirector_with_anybody_elses_member_is_refused(redirector: Played) -> None:
    front = sends_to(redirector, "http://bids.example.org", "https://2i2c.mybinder.org")
    with pytest.raises(InputError, match=r"it sends people to https://2i2c\.mybinder\.org, which is none of yours"):
        federation_target(front, [own()])


@pytest.mark.parametrize("answer", [{"nothing": 1}, {"active_hosts": ["bids"]}, {"active_hosts": {"bids": {}}}])
def test_what_is_no_redirector_is_told(redirector: Played, answer: dict[str, Any]) -> None:
    redirector.routes["GET /active_hosts"] = lambda to: to.reply(200, answer)
    with pytest.raises(StepError, match="is this the redirector's own address"):
        federation_target(f"http://127.0.0.1:{redirector.port}", [own()])
    with pytest.raises(InputError, match="no URL"):
        federation_target("mybinder.org", [own()])


def leads(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """What DNS says, of whatever name."""

    def asked(host: str, *_: object, **__: object) -> list[Any]:
        del host
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        return [(2, 1, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", asked)


def test_a_name_that_leads_to_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    leads(monkeypatch, HERE)
    target = named_target([own()])
    assert (target.url, dict(target.addresses)) == ("http://bids.example.org", {})
    # Two generations of one name: it may lead to either.
    assert named_target([own(), own("bids-2", address=ELSEWHERE)]).url == target.url


def test_a_name_that_leads_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    leads(monkeypatch, HERE, ELSEWHERE)
    with pytest.raises(InputError, match=rf"leads to {ELSEWHERE}, {HERE}; yours: {HERE}"):
        named_target([own()])
    leads(monkeypatch)
    with pytest.raises(InputError, match="leads to no address"):
        named_target([own()])
    with pytest.raises(InputError, match="are not one name"):
        named_target([own(), own("gesis", "gesis.example.org")])
