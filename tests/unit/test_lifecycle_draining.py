"""A drain in a federation's checkout, and what is refused before anything is touched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.artifacts.store import Sources
from binder_node.binder.client import Binder
from binder_node.errors import DeadlineError, InputError, StepError
from binder_node.events import Event, silent
from binder_node.federation.book import Checkout
from binder_node.federation.drain import Left
from binder_node.lifecycle.draining import (
    LOOKS,
    drain_checkout,
    drain_here,
    max_age,
    sentence,
    undrain_checkout,
    wait_empty,
)
from binder_node.lifecycle.membership import Reached
from binder_node.lifecycle.opened import open_spec
from binder_node.node import Access, Node
from tests.unit.host_samples import sample_secrets, sample_spec

INVENTORY = """\
name: new
provider: {kind: ssh, address: 203.0.113.7}
machine: {cpus: 2, memory: 12G, disk: 40G}
names: {binder: new.test}
tls: {mode: none}
storage: {kind: s3, endpoint: "https://s3.test", bucket: new-registry}
federation: {member: new}
"""


@pytest.fixture
def book(tmp_path: Path) -> Checkout:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/new.yaml").write_text("binderhub:\n  config:\n    BinderHub:\n      pod_quota: 180 # max\n")
    return Checkout(tmp_path, "new")


def test_a_member_of_a_central_deploy_is_drained_in_its_own_values(book: Checkout) -> None:
    before = book.values.read_text()
    done = drain_checkout(book)
    assert (done.file, done.deployed) == (book.values, False)
    assert "+      pod_quota: 0  # drained by binder-node; before: 180 # max" in done.diff.splitlines()
    assert drain_checkout(book).diff == ""
    undrain_checkout(book, None)
    assert book.values.read_text() == before


def test_values_without_a_quota_are_refused(book: Checkout) -> None:
    book.values.write_text("binderhub:\n  config:\n    BinderHub:\n      x: 1\n")
    with pytest.raises(InputError, match=r"config/new.yaml:\d+: binderhub.config.LaunchQuota.total_quota"):
        drain_checkout(book)


def test_what_the_federation_deploys_is_not_drained_here(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    text = INVENTORY.replace("{mode: none}", "{mode: acme, email: ops@example.org}")
    file.write_text(f"{text}deploy: federation\nkubernetes: {{api_from: [0.0.0.0/0], operators: [deploy]}}\n")
    with pytest.raises(InputError, match="new is deployed by its federation; name the federation's checkout"):
        drain_here(open_spec(str(file), None), Sources((), None), silent)
    assert "quota" not in file.read_text()


def test_the_cullers_age_is_the_operators_where_a_file_says_it(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(f"{INVENTORY}binderhub: {{values: [more.yaml]}}\n")
    (tmp_path / "more.yaml").write_text("jupyterhub: {cull: {maxAge: 3600}}\n")
    assert max_age(open_spec(str(file), None).spec) == 3600
    (tmp_path / "more.yaml").write_text("jupyterhub: {cull: {enabled: false}}\n")
    assert max_age(open_spec(str(file), None).spec) == 0
    file.write_text(INVENTORY)
    assert max_age(open_spec(str(file), None).spec) == 21600


def test_how_many_are_left_in_a_sentence() -> None:
    assert sentence(Left(0, 0, 0)) == "no sessions left"
    assert (
        sentence(Left(2, 600, math.inf)) == "2 sessions left; the last one likely ends in 10 min, and none for its age"
    )
    assert sentence(Left(1, 600, 7200)) == "1 session left; the last one likely ends in 10 min, in 2.0 h at the latest"


# --- a wait of hours -------------------------------------------------------------------------------------------------

POD = '{"metadata": {"name": "jupyter-a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}'
FULL, EMPTY = remote.Result(0, f'{{"items": [{POD}]}}', ""), remote.Result(0, '{"items": []}', "")
LOST = remote.Result(1, "", "connection refused")


def looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *answers: remote.Result) -> Reached:
    """A node whose looks at its sessions have these ``answers``, one after the other; the last one stays."""
    left = list(answers)

    def run(*_: object, **__: Any) -> remote.Result:
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(remote, "run", run)
    access = Access("bids-1", "192.0.2.7", 22, "root", tmp_path, tmp_path, tmp_path)
    return Reached(
        Node(sample_spec(), sample_secrets(), {}, {}, tmp_path), access, "192.0.2.7", Binder("http://x.test")
    )


def test_a_look_that_fails_on_the_way_ends_no_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[Event] = []
    member = looked(monkeypatch, tmp_path, FULL, *[LOST] * (LOOKS - 1), FULL, LOST, EMPTY)
    assert wait_empty(member, 0.001, 60, told.append).sessions == 0
    assert [event.kind for event in told] == ["progress", *["warn"] * (LOOKS - 1), "progress", "warn"]


def test_looks_that_fail_again_and_again_end_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="count the sessions: connection refused"):
        wait_empty(looked(monkeypatch, tmp_path, FULL, LOST), 0.001, 60, silent)


def test_who_stays_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DeadlineError, match="the last session's end: 1 session left"):
        wait_empty(looked(monkeypatch, tmp_path, FULL), 0.001, 0.05, silent)
