"""The quota's edit, which is undone byte for byte, and how long the sessions that are left may take."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.federation.drain import Session, drained, left, sessions, undrained

INVENTORIES = sorted((Path(__file__).parents[2] / "inventories").glob("*.yaml"))
SAID = "name: bids\nbinderhub:\n  # Sessions and builds.\n  quota: 300  # as 2i2c\n  replicas: 2\ntls: {mode: none}\n"
UNSAID = "name: bids\nbinderhub:\n  # Sessions.\n  #quota: 9\n  session:\n    #cpu: 1\n\n# Who.\ntls: {mode: none}\n"
BARE = "name: bids\ntls: {mode: none}\n"


@pytest.mark.parametrize("text", [SAID, UNSAID, BARE, *(path.read_text() for path in INVENTORIES)])
def test_a_drain_is_undone_byte_for_byte_and_twice_is_once(text: str) -> None:
    dry = drained(text, "bids.yaml")
    assert "quota: 0  # drained by binder-node; before: " in dry
    assert drained(dry, "bids.yaml") == dry
    assert undrained(dry, "bids.yaml") == text
    assert undrained(text, "bids.yaml") == text


def test_the_quota_before_and_its_comment_stay_on_the_line() -> None:
    assert "  quota: 0  # drained by binder-node; before: 300  # as 2i2c\n" in drained(SAID, "bids.yaml")


def test_another_quota_may_be_put_back() -> None:
    dry = drained(SAID, "bids.yaml")
    assert "  quota: 120  # as 2i2c\n" in undrained(dry, "bids.yaml", quota=120)
    assert "  quota: 120\n" in undrained(drained(UNSAID, "bids.yaml"), "bids.yaml", quota=120)


def test_a_zero_of_somebody_elses_is_only_taken_away_for_a_quota_that_is_said() -> None:
    text = "binderhub:\n  quota: 0\n"
    with pytest.raises(InputError, match=r"bids.yaml:2: binderhub.quota: is 0, and nothing says .*; say --quota"):
        undrained(text, "bids.yaml")
    assert undrained(text, "bids.yaml", quota=50) == "binderhub:\n  quota: 50\n"


def test_a_quota_among_others_on_a_line_is_refused() -> None:
    with pytest.raises(InputError, match="shares its line with others"):
        drained("binderhub: {quota: 300, replicas: 2}\n", "bids.yaml")


def test_a_members_values_have_it_deeper() -> None:
    key = ("binderhub", "config", "LaunchQuota", "total_quota")
    text = "binderhub:\n  config:\n    LaunchQuota:\n      total_quota: 180\n"
    dry = drained(text, "config/x.yaml", key)
    assert dry.endswith("      total_quota: 0  # drained by binder-node; before: 180\n")
    assert undrained(dry, "config/x.yaml", key) == text


def pod(name: str, made: str, phase: str = "Running") -> dict[str, object]:
    return {"metadata": {"name": name, "creationTimestamp": made}, "status": {"phase": phase}}


def test_sessions_that_have_ended_are_not_waited_for() -> None:
    pods = [pod("new", "2026-11-21T11:59:00Z"), pod("old", "2026-11-21T11:00:00Z"), pod("gone", "x", "Succeeded")]
    found = sessions({"items": pods}, datetime(2026, 11, 21, 12, tzinfo=UTC))
    assert found == [Session("old", 3600), Session("new", 60)]


def test_the_last_session_ends_when_the_youngest_is_culled_at_the_latest_and_likely_before() -> None:
    found = left([Session("a", 7200), Session("b", 3600), Session("c", 0)], max_age=21600)
    assert (found.sessions, found.most) == (3, 21600)
    assert found.likely == pytest.approx(3600 * (1 + 1 / 2 + 1 / 3))
    assert left([Session("a", 21500)], max_age=21600).likely == 100
    assert left([]).sessions == 0
