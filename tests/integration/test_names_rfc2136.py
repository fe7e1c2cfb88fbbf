"""The stage ``names`` against a real name server (Knot DNS): what is written, left alone, and waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.tsigkeyring
import dns.update
import pytest

from binder_node.errors import DeadlineError, InputError, StepError
from binder_node.events import Event, silent
from binder_node.names.base import zone_of
from binder_node.names.stage import NamesStage
from binder_node.node import Node
from tests.integration.names_fixtures import BINDER, CREATED, ELSEWHERE, HERE, HUB, ZONE, served, stage_of, up
from tests.testbed.knot import KEY, SECRET, Knot, free_port
from tests.unit.host_samples import sample_secrets, sample_spec

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="apt fetches the server as root only"),
]

VARIABLE = "RFC2136_TSIG_SECRET"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Knot]:
    # A wildcard of the zone's own answers for every name: it must not be taken for a record at the name.
    with served(tmp_path / "primary", f"*.{ZONE}. 60 A {ELSEWHERE}") as server:
        yield server


def stage(server: Knot, name: str = "bids-1", address: str = HERE, **more: Any) -> NamesStage:
    said = {"kind": "rfc2136", "zone": ZONE, "server": server.name, "key": KEY, "wait": 5, "nameservers": [server.name]}
    return stage_of({**said, **more}, address, name=name)


def put(server: Knot, name: str, kind: str, *values: str) -> None:
    """A record as somebody else would write it; no values: none."""
    message = dns.update.UpdateMessage(
        ZONE, keyring=dns.tsigkeyring.from_text({KEY: SECRET}), keyalgorithm="hmac-sha256"
    )
    message.delete(f"{name}.", kind)
    if values:
        message.add(f"{name}.", 60, kind, *values)
    assert dns.query.tcp(message, server.address, port=server.port, timeout=5).rcode() == 0


def ask(server: Knot, name: str, kind: str = "A") -> list[str]:
    query = dns.message.make_query(name, kind)
    reply = dns.query.udp(query, server.address, port=server.port, timeout=5)
    return sorted(str(item) for rrset in reply.answer for item in rrset)


def test_a_first_up_writes_a_second_finds_nothing_and_destroy_leaves_what_was_there(primary: Knot) -> None:
    made = stage(primary)
    assert up(made) == CREATED
    for name in (BINDER, f"hub.{BINDER}", f"a.b.{BINDER}"):
        assert ask(primary, name) == [HERE]
    assert ask(primary, f"binder-node.{BINDER}", "TXT") == ['"heritage=binder-node,node=bids-1"']
    assert up(made) == []
    assert [change.what for change in made.doomed(silent)] == [
        f"A {name} {HERE}" for name in (f"*.{BINDER}", BINDER, HUB)
    ]
    made.destroy(silent)
    assert ask(primary, BINDER) == [ELSEWHERE]  # the zone's own wildcard again
    assert ask(primary, f"binder-node.{BINDER}", "TXT") == []
    made.destroy(silent)


def test_another_address_is_followed(primary: Knot) -> None:
    up(stage(primary))
    assert up(stage(primary, address="198.51.100.8")) == [
        f"update A {BINDER} {HERE} -> 198.51.100.8",
        f"update A *.{BINDER} {HERE} -> 198.51.100.8",
        f"update A {HUB} {HERE} -> 198.51.100.8",
    ]
    assert ask(primary, f"any.{BINDER}") == ["198.51.100.8"]


@pytest.mark.parametrize(("kind", "value"), [("A", ELSEWHERE), ("CNAME", f"www.{ZONE}."), ("AAAA", "2001:db8::1")])
def test_a_record_of_others_is_refused_whole_and_written_over_when_told(primary: Knot, kind: str, value: str) -> None:
    put(primary, BINDER, kind, value)
    with pytest.raises(StepError, match=rf"{kind} {BINDER} \S+ is there and not this node's .*adopt: true") as caught:
        up(stage(primary))
    assert "nothing was changed" in str(caught.value)
    assert ask(primary, f"hub.{BINDER}") != [HERE]  # nor was anything else written
    stage(primary).destroy(silent)
    assert value in ask(primary, BINDER, kind)
    up(stage(primary, adopt=True))
    assert ask(primary, BINDER) == [HERE]
    assert up(stage(primary)) == []


def test_one_nodes_records_are_another_ones_others(primary: Knot) -> None:
    up(stage(primary))
    with pytest.raises(StepError, match="is there and not this node's"):
        up(stage(primary, name="bids-2", address="198.51.100.8"))
    stage(primary, name="bids-2").destroy(silent)
    assert ask(primary, BINDER) == [HERE]
    up(stage(primary, name="bids-2", address="198.51.100.8", adopt=True))
    # They are the second node's now: the first one's end leaves them.
    stage(primary).destroy(silent)
    assert ask(primary, BINDER) == ["198.51.100.8"]


def test_a_record_below_the_wildcard_that_leads_elsewhere_is_found(primary: Knot) -> None:
    registry = f"registry.{BINDER}"
    put(primary, registry, "A", ELSEWHERE)
    with pytest.raises(StepError, match=rf"A {registry} {ELSEWHERE} is there"):
        up(stage(primary))
    assert f"delete A {registry} {ELSEWHERE} (not this node's)" in up(stage(primary, adopt=True))
    assert ask(primary, registry) == [HERE]


def test_a_record_that_changes_between_looking_and_writing_is_not_written_over(primary: Knot) -> None:
    made = stage(primary)
    seen = made.inspect(silent)
    put(primary, BINDER, "A", "192.0.2.77")
    with pytest.raises(StepError, match=r"changed meanwhile \(YXRRSET\) -> run the same command again"):
        made.apply(seen, silent)
    assert ask(primary, BINDER) == ["192.0.2.77"]


def test_a_secondary_that_is_late_is_named_with_what_it_says(primary: Knot, tmp_path: Path) -> None:
    late = Knot(tmp_path / "late", "127.0.0.1", free_port(), {ZONE: [f"{BINDER}. 60 A {ELSEWHERE}"]})
    late.start()
    try:
        made = stage(primary, nameservers=[primary.name, late.name], wait=1)
        with pytest.raises(DeadlineError) as caught:
            up(made)
        assert f"{late.name} says {ELSEWHERE} for {BINDER}" in str(caught.value)
        assert f"{late.name} says there is no such name for hub.{BINDER}" in str(caught.value)
        assert primary.name not in str(caught.value)
        # The next run waits on, and tells a plan what for.
        patient = stage(primary, nameservers=[primary.name, late.name], wait=30)
        (waiting,) = patient.changes(patient.inspect(silent))
        assert f"wait for name servers: {late.name} says {ELSEWHERE}" in waiting.what
        told: list[Event] = []
        running = threading.Thread(target=lambda: patient.apply(patient.inspect(silent), told.append))
        running.start()
        time.sleep(1)
        put(late, BINDER, "A", HERE)
        put(late, f"*.{BINDER}", "A", HERE)
        running.join(20)
        assert not running.is_alive()
        assert any(late.name in event.message for event in told)
        assert up(patient) == []
    finally:
        late.stop()


def test_a_server_that_is_down_or_not_the_zones_is_said(primary: Knot, tmp_path: Path) -> None:
    other = Knot(tmp_path / "other", "127.0.0.1", free_port(), {"example.net": []})
    other.start()
    try:
        with pytest.raises(StepError, match=r"is it the zone's primary server\? check dns\.server and dns\.zone"):
            up(stage(other))
    finally:
        other.stop()
    with pytest.raises(StepError, match="is it up, and open to you"):
        up(stage(other))
    made = stage(primary, nameservers=[primary.name, other.name], wait=1)
    with pytest.raises(DeadlineError, match=rf"{other.name} says nothing \("):
        up(made)


def test_a_wrong_key_and_a_wrong_secret_are_said_and_the_secret_is_not(
    primary: Knot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StepError, match=r"does not take our key other .* check dns\.key"):
        up(stage(primary, key="other"))
    wrong = "d3Jvbmc="
    monkeypatch.setenv(VARIABLE, wrong)
    with pytest.raises(StepError, match=r"does not take our key") as caught:
        up(stage(primary))
    assert wrong not in str(caught.value)
    monkeypatch.setenv(VARIABLE, "no-base64!")
    with pytest.raises(InputError, match="is not base64") as refused:
        zone_of(stage(primary).node)
    assert "no-base64!" not in str(refused.value)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(InputError, match=f"set {VARIABLE}"):
        zone_of(stage(primary).node)


class TestByHand:
    def stage(self, server: Knot, wait: int = 20) -> NamesStage:
        spec = sample_spec(dns={"kind": "manual", "nameservers": [server.name], "wait": wait})
        return NamesStage(Node(spec, sample_secrets(), {}, {}, Path("/nowhere")), HERE)

    def test_the_records_are_printed_and_waited_for(self, primary: Knot) -> None:
        made, told = self.stage(primary), list[Event]()
        (change,) = made.changes(made.inspect(silent))
        assert change.what.startswith("wait for name servers: ")
        running = threading.Thread(target=lambda: made.apply(made.inspect(silent), told.append))
        running.start()
        time.sleep(1)
        printed = next(event for event in told if "records" in event.data)
        names = (BINDER, f"*.{BINDER}", HUB)
        assert printed.data["records"] == [f"{name}. 300 IN A {HERE}" for name in names]
        for name in names:  # the person does as told
            put(primary, name, "A", HERE)
        running.join(20)
        assert not running.is_alive()
        assert made.changes(made.inspect(silent)) == []

    def test_nobody_does_and_the_deadline_says_what_is_missing(self, primary: Knot) -> None:
        made = self.stage(primary, wait=1)
        with pytest.raises(DeadlineError, match=rf"waited 1 s .*says {ELSEWHERE} for "):
            made.apply(made.inspect(silent), silent)
        told: list[Event] = []
        made.destroy(told.append)
        assert "yours to remove" in told[0].message
