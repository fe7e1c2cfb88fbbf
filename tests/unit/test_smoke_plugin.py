"""What the plugin makes of checks that pass, fail, break or do not apply: a suite of its own."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest

from tests.unit.test_smoke_run import binder_node, variables

SUITE = """
import pytest
from binder_node.errors import DeadlineError, StepError
from binder_node.smoke.checks import Trouble, check, expect

@pytest.fixture
def untidy():
    yield
    raise StepError("lone", "take the branch away", "it is protected", "remove it by hand")

# Written upside down: the order is by what they need.
@check("k3s.top", "", needs=("k3s.broken", "storage.skipped"))
def test_top(): ...

@check("k3s.broken", "", needs="machine.good")
def test_broken():
    {}["nothing"]

@check("k3s.late", "", needs="machine.good")
def test_late():
    raise DeadlineError("lone", "an answer", 5, "silence", "ask again")

@check("storage.skipped", "", needs="machine.good")
def test_skipped():
    pytest.skip("not on this node")

@check("storage.after", "", needs="storage.skipped")
def test_after(): ...

@check("storage.untidy", "", needs="machine.good")
def test_untidy(untidy): ...

@check("storage.both", "", needs="machine.good")
def test_both(untidy):
    expect(Trouble("nothing was written", "look at the bucket"))

@check("registry.push", "", deep=True)
def test_deep():
    raise AssertionError("never without --deep")

@check("machine.wrong", "")
def test_wrong():
    expect(Trouble("swap is on", "swapoff -a"), Trouble("so is the light", "turn it off"))

@check("machine.good", "")
def test_good(): ...

def test_of_somebody_else(): ...
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, xml.Element]]:
    """The screen, and the JUnit cases by their test's name, in their order."""
    folder = tmp_path_factory.mktemp("suite")
    binder_node(folder, "init", "lone", "--provider", "local")
    (folder / "test_own.py").write_text(SUITE)
    argv = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "--node", "lone", "--junit-xml", "out.xml"]
    done = subprocess.run(
        [*argv, "test_own.py"], cwd=folder, env=variables(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout, {str(case.get("name")): case for case in xml.parse(folder / "out.xml").iter("testcase")}


def properties(case: xml.Element) -> dict[str, str]:
    return {str(entry.get("name")): str(entry.get("value")) for entry in case.iter("property")}


def test_the_order_is_by_layer_and_need_and_deep_ones_are_left_out(ran: tuple[str, dict[str, xml.Element]]) -> None:
    assert list(ran[1]) == [
        "test_wrong",
        "test_good",
        "test_broken",
        "test_skipped",
        "test_top",
        "test_late",
        "test_after",
        "test_untidy",
        "test_both",
        "test_of_somebody_else",
    ]


@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        ("test_wrong", "swap is on; so is the light", "swapoff -a; turn it off"),
        ("test_late", "waited 5 s for an answer: silence", "ask again"),
        ("test_untidy", "take the branch away: it is protected", "remove it by hand"),
    ],
)
def test_a_failure_is_its_reason_and_its_remedy(
    ran: tuple[str, dict[str, xml.Element]], name: str, reason: str, remedy: str
) -> None:
    screen, cases = ran
    assert {"reason": reason, "remedy": remedy}.items() <= properties(cases[name]).items()
    assert f"{reason}\n-> {remedy}" in screen
    assert len(list(cases[name].iter("failure"))) + len(list(cases[name].iter("error"))) == 1


def test_a_failed_check_that_leaves_something_behind_tells_both(ran: tuple[str, dict[str, xml.Element]]) -> None:
    told = [(entry.get("name"), entry.get("value")) for entry in ran[1]["test_both"].iter("property")]
    assert told.count(("reason", "nothing was written; take the branch away: it is protected")) == 1
    assert told.count(("remedy", "look at the bucket; remove it by hand")) == 1


def test_a_check_that_breaks_by_itself_shows_where(ran: tuple[str, dict[str, xml.Element]]) -> None:
    assert "the check itself broke: KeyError('nothing')" in properties(ran[1]["test_broken"])["reason"]
    assert '{}["nothing"]' in ran[0]


def test_a_failure_blocks_and_a_skip_does_not(ran: tuple[str, dict[str, xml.Element]]) -> None:
    screen, cases = ran
    assert properties(cases["test_top"])["because"] == "k3s.broken"
    assert "not looked at: k3s.broken failed" in screen
    assert "not on this node" in screen
    assert list(cases["test_after"].iter("skipped")) == []
    assert properties(cases["test_of_somebody_else"]) == {}
