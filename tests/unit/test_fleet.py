"""Nodes side by side: their states, their table, and the page that keeps its looks."""

from __future__ import annotations

import pytest

from binder_node.fleet import report
from binder_node.fleet.look import COLUMNS, KEEP_SECONDS, kept, rows, sentence
from tests.unit.fleet_samples import NOON, away, look
from tests.unit.test_load_report import Page

OUT = look("ovh", inside=False, pods=100, reasons=("quota is used up: 100 of 100",), changes={"host": 2, "release": 1})


def test_a_nodes_state_and_why() -> None:
    assert (look().well, look().state, look().why) == (True, "well", ())
    drifted = look(changes={"host": 2, "release": 1, "storage": 0})
    assert (drifted.well, drifted.state) == (False, "3 changes wanted")
    assert drifted.why == ("`up` would change: host 2, release 1",)
    assert (OUT.well, OUT.state, OUT.why[0]) == (False, "out", "out: quota is used up: 100 of 100")
    assert (away().well, away().state) == (False, "not all seen")
    assert "there is none that answers" in away().why[0]
    assert look(changes={"host": 1}).state == "1 change wanted"


def test_a_line_a_node() -> None:
    first, second = rows([look(), away()])
    assert dict(zip(COLUMNS, first, strict=True)) == {
        "node": "bids",
        "state": "well",
        "pods": "40 of 100",
        "users + builds": "38 + 2",
        "CPU": "25%",
        "memory": "33%",
        "disk": "31%",
        "answers in": "0.12 s",
        "certificate": "61 d",
        "backup": "3.2 h ago",
    }
    assert second == ["gesis", "not all seen", *[""] * 8]
    assert sentence([look(), away()]) == "1 of 2 nodes well"


def test_old_looks_are_kept_less_often_and_not_for_ever() -> None:
    every_minute = [look(minutes=number) for number in range(10 * 24 * 60)]
    now = every_minute[-1].at
    left = kept(every_minute, now)
    assert left == sorted(left, key=lambda one: one.at)
    assert left[-1] == every_minute[-1]
    ages = [now - one.at for one in left]
    assert max(ages) <= KEEP_SECONDS
    assert sum(age <= 7200 for age in ages) == 121
    assert sum(7200 < age <= 86400 for age in ages) == 264
    assert sum(age > 86400 for age in ages) == 288
    assert kept(left, now) == left
    # A node that nobody looked at for long is there still, as it was last.
    assert kept([look("old"), *every_minute[-1:]], now + 20 * 86400)[0].node == "old"


def test_a_page_of_its_own_with_a_table_and_a_plot_a_node() -> None:
    looks = [look(minutes=0), away(minutes=0), look(minutes=1, pods=50), OUT, away(minutes=1)]
    text = report.html(looks, refresh=60)
    page = Page(text)
    assert page.open == []
    assert [name for name in page.outside if name != "a href"] == []  # links of its own
    assert 'href="http' not in text
    assert '<meta http-equiv="refresh" content="60">' in text
    assert "refresh" not in report.html(looks)
    said = "".join(page.words)
    assert "1 of 3 nodes well" in said
    assert "bids: well" in said
    assert "out: quota is used up: 100 of 100" in said
    assert "there is none that answers" in said
    assert page.tags.count("svg") == 3
    # The newest look of bids is what its line says, and what is plotted begins with the first.
    assert "50 of 100" in said
    assert "40 of 100" not in said


def test_the_next_page_goes_on_from_the_looks_in_the_last() -> None:
    looks = [look(minutes=number, reasons=("</script><b>",)) for number in range(3)]
    text = report.html(looks)
    assert report.read(text) == looks
    assert text.count("</script>") == 1
    with pytest.raises(ValueError, match="no page of `status --html`"):
        report.read("<html></html>")
    with pytest.raises(ValueError, match="another version"):
        report.read(text.replace('"answer":', '"reply":'))


def test_where_nobody_looked_there_is_no_line() -> None:
    looks = [look(minutes=number) for number in (0, 1, 2, 3, 60, 61, 62)]
    plot = report.plot(looks, NOON, looks[-1].at)
    together = report.plot([look(minutes=number) for number in range(7)], NOON, NOON + 360)
    assert plot.count("<polyline") == 2 * together.count("<polyline")
    assert plot.count("<title>") == 7


def test_a_node_that_is_away_now_keeps_its_scales() -> None:
    plot = report.plot([look("gesis"), look("gesis", 1), away("gesis", 2)], NOON, NOON + 120)
    assert plot.count('stroke-dasharray="5 4"') == 3  # quota, memory, disk
    assert ">200 GB<" in plot
    assert ">1000 GB<" in plot


def test_what_was_never_seen_has_no_panel() -> None:
    plot = report.plot([away(minutes=0), away(minutes=1)], NOON, NOON + 60)
    assert "<polyline" not in plot
    assert report.plot([look()], NOON, NOON).count("<polyline") == 7
