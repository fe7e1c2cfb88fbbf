"""From a node's memory to an operator's answer."""

from __future__ import annotations

from typing import Any

import pytest

from binder_node.abuse import report
from binder_node.abuse.on_node import read

WHO = {"kind": "session", "pod": "jupyter-x", "repo": "https://github.com/o/r", "ref": "abc"}


def record(at: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"at": f"2026-11-21T{at}Z", "kind": kind, **more}


def cut(at: str, who: dict[str, Any] = WHO) -> dict[str, Any]:
    return record(at, "cut", why="too_many", source="10.42.0.5", who=who)


def live(source: str, packets: int, left: int) -> dict[str, Any]:
    return {"too_many": [{"elem": {"val": source, "expires": left, "counter": {"packets": packets, "bytes": 1}}}]}


def test_a_cut_has_its_end_and_what_was_refused() -> None:
    free = record("20:05:00", "free", why="too_many", source="10.42.0.5", packets=900)
    (found,) = report.cuts([cut("20:00:00"), free], {})
    assert (found.at, found.until, found.pod, found.repo, found.packets, found.left) == (
        "2026-11-21T20:00:00Z", "2026-11-21T20:05:00Z", "jupyter-x", "https://github.com/o/r", 900, 0,
    )  # fmt: skip


def test_one_who_is_cut_now_is_told_with_the_kernels_own_count() -> None:
    (found,) = report.cuts([cut("20:00:00")], live("10.42.0.5", 40, 170))
    assert (found.until, found.packets, found.left) == ("", 40, 170)


def test_a_cut_that_was_told_twice_is_one_and_one_whose_end_nobody_saw_is_over() -> None:
    (found,) = report.cuts([cut("20:00:00"), cut("20:01:00")], {})
    assert (found.at, found.until) == ("2026-11-21T20:00:00Z", "?")


def test_a_step_that_can_be_of_two_builds_names_both() -> None:
    likely = [{"pod": "build-a", "repo": "https://a"}, {"pod": "build-b", "repo": "https://b"}]
    (found,) = report.cuts([cut("20:00:00", {"kind": "build", "step": "python3 scan.py", "likely": likely})], {})
    assert (found.pod, found.repo, found.step) == (
        "build-a or build-b", "https://a or https://b", "python3 scan.py",
    )  # fmt: skip


def test_a_complaint_names_the_nearest_in_time_first() -> None:
    def met(at: str, pod: str) -> dict[str, Any]:
        who = {"kind": "session", "pod": pod, "repo": f"https://{pod}"}
        return record(at, "met", source=f"10.42.0.{len(pod)}", to="203.0.113.9:443", who=who)

    found = report.suspects(
        [met("19:10:00", "early"), met("19:58:00", "near"), met("19:20:00", "near")], report.moment("2026-11-21T20:00Z")
    )
    assert [(one.pod, one.at) for one in found] == [
        ("near", "2026-11-21T19:58:00Z"), ("early", "2026-11-21T19:10:00Z"),
    ]  # fmt: skip


def test_a_launch_is_one_timeline_in_which_nothing_stands_twice() -> None:
    event = record("20:00:02", "event", pod="jupyter-x", reason="Pulled", message="already present")
    lines = report.timeline(
        [
            event,
            record("20:00:01", "pod", who=WHO, state="Pending"),
            event,
            cut("20:00:09"),
            record("20:00:30", "pod", who=WHO, state="Failed; notebook: OOMKilled, exit 137"),
        ]
    )
    assert [line.what for line in lines] == [
        "session: Pending",
        "Pulled: already present",
        "CUT for a scan: too many new targets",
        "session: Failed; notebook: OOMKilled, exit 137",
    ]


def test_a_launch_is_a_pods_name_or_part_of_a_repositorys_url() -> None:
    records = [
        record("20:00:00", "pod", who={**WHO, "pod": pod, "repo": repo}, state="Running")
        for pod, repo in (("build-o-r", "https://github.com/o/r"), ("jupyter-x", "https://github.com/o/r"), ("y", ""))
    ]
    assert report.pods_of(records, "O/R") == ["build-o-r", "jupyter-x"]
    assert report.pods_of(records, "jupyter-x") == ["jupyter-x"]
    assert report.pods_of(records, "nothing") == []


def test_times_are_utc_unless_they_say_otherwise() -> None:
    assert report.written(report.moment("2026-11-21 20:00")) == "2026-11-21T20:00:00Z"
    assert report.written(report.moment("2026-11-21T21:00+01:00")) == "2026-11-21T20:00:00Z"
    with pytest.raises(ValueError, match="nine"):
        report.moment("nine o'clock")


def test_a_question_takes_its_kinds_its_time_and_its_address() -> None:
    ask = {"kinds": ["met"], "since": "2026-11-21T19:00:00Z", "until": "2026-11-21T21:00:00Z", "to": "203.0.113.9"}
    met = record("20:00:00", "met", to="203.0.113.9:443")
    assert read.wanted(met, ask)
    assert not read.wanted({**met, "to": "203.0.113.90:443"}, ask)
    assert not read.wanted({**met, "kind": "cut"}, ask)
    assert not read.wanted({**met, "at": "2026-11-21T21:00:01Z"}, ask)
    assert read.wanted({**met, "to": "1.1.1.1:1"}, {**ask, "to": ""})
