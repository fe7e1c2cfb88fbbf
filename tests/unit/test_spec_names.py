"""``dns`` and ``tls`` in an inventory: what may stand there, and what an operator reads when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.spec.advice import warnings
from binder_node.spec.load import load
from binder_node.spec.model import Spec

BASE = """\
name: node
provider: {kind: local}
machine: {cpus: 8, memory: 64G, disk: 400G}
names: {binder: node.example.org}
storage: {kind: node}
"""
NONE = "tls: {mode: none}\n"


def loaded(folder: Path, more: str) -> Spec:
    (folder / "node.yaml").write_text(BASE + more)
    return load(folder / "node.yaml")


def problems(folder: Path, more: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        loaded(folder, more)
    return [f"{problem.path}: {problem.wrong}; {problem.right}" for problem in caught.value.problems]


@pytest.mark.parametrize("section", ["", "dns:\n", "dns: {kind: none}\n"])
def test_without_a_section_nobody_looks_at_names(tmp_path: Path, section: str) -> None:
    assert loaded(tmp_path, NONE + section).dns.model_dump() == {"kind": "none"}


def test_ways_to_have_names(tmp_path: Path) -> None:
    zone = loaded(tmp_path, NONE + "dns: {kind: cloudflare, zone: example.org}\n").dns.model_dump()
    assert (zone["ttl"], zone["adopt"], zone["nameservers"], zone["wait"]) == (300, False, (), 600)
    own = loaded(
        tmp_path, NONE + "dns: {kind: rfc2136, zone: example.org, server: '192.0.2.53:5353', key: K.x_1}\n"
    ).dns
    assert own.model_dump()["algorithm"] == "hmac-sha256"
    assert loaded(tmp_path, NONE + "dns: {kind: manual}\n").dns.model_dump()["wait"] == 1800


@pytest.mark.parametrize(
    ("dns", "said"),
    [
        ("{kind: route53}", "dns: kind 'route53' is unknown; write one of: none, manual, cloudflare, "),
        ("{zone: example.org}", "dns: has no kind; write `kind:` with one of: none, manual, cloudflare, "),
        ("{kind: cloudflare}", "dns.zone: is missing; write `zone: mybinder.org`"),
        ("{kind: cloudflare, zone: example.org, ttl: 5}", "dns.ttl: 5 is too small; write a whole number from 60 to"),
        (
            "{kind: cloudflare, zone: example.net}",
            "names.binder: 'node.example.org' is not in the zone example.net (dns.zone)",
        ),
        (
            "{kind: rfc2136, zone: example.org, server: 'ns1 ', key: k}",
            "dns.server: 'ns1 ' is not allowed; write a server's name or address, with its port where that is not 53",
        ),
    ],
)
def test_mistakes(tmp_path: Path, dns: str, said: str) -> None:
    found = problems(tmp_path, NONE + f"dns: {dns}\n")
    assert found[0].startswith(said)


def test_a_hub_outside_the_zone(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(
        BASE.replace("node.example.org}", "node.example.org, hub: hub.example.net}")
        + NONE
        + "dns: {kind: cloudflare, zone: example.org}\n"
    )
    with pytest.raises(InputError) as caught:
        load(tmp_path / "node.yaml")
    (problem,) = caught.value.problems
    assert problem.path == "names.hub"
    assert problem.wrong == "'hub.example.net' is not in the zone example.org (dns.zone)"
    assert problem.right == "write a name that ends with .example.org"


def test_acme_needs_a_mail_address_and_an_authority_that_is_there(tmp_path: Path) -> None:
    assert problems(tmp_path, "tls: {mode: acme}\n") == ["tls.email: is missing; write `email: ops@example.org`"]
    assert problems(tmp_path, "tls: {mode: acme, email: nobody}\n") == [
        "tls.email: 'nobody' is not allowed; write a mail address, like ops@example.org"
    ]
    (missing,) = problems(tmp_path, "tls: {mode: acme, email: a@b.org, authority: ca.pem}\n")
    assert missing.startswith(f"tls.authority: there is no file {tmp_path}/ca.pem")
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    spec = loaded(tmp_path, "tls: {mode: acme, email: a@b.org, authority: ca.pem}\n")
    assert spec.tls.model_dump()["authority"] == tmp_path / "ca.pem"


def test_a_mail_address_of_an_example_is_warned_of(tmp_path: Path) -> None:
    for mail, warned in (("ops@example.org", True), ("ops@mail.example.com", True), ("ops@my-example.org", False)):
        found = [str(one) for one in warnings(loaded(tmp_path, f"tls: {{mode: acme, email: {mail}}}\n"))]
        assert any("Let's Encrypt refuses" in one for one in found) is warned
