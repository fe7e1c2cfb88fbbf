"""A drain in a federation's checkout, and what is refused before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.artifacts.store import Sources
from binder_node.errors import InputError
from binder_node.events import silent
from binder_node.federation.book import Checkout
from binder_node.federation.drain import Left
from binder_node.lifecycle.draining import drain_checkout, drain_here, max_age, sentence, undrain_checkout
from binder_node.lifecycle.opened import open_spec

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
    file.write_text(INVENTORY)
    assert max_age(open_spec(str(file), None).spec) == 21600


def test_how_many_are_left_in_a_sentence() -> None:
    assert sentence(Left(0, 0, 0)) == "no sessions left"
    assert sentence(Left(1, 600, 7200)) == "1 session left; the last one likely ends in 10 min, in 2.0 h at the latest"
