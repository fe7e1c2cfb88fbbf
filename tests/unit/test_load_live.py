"""A load as it is just now."""

from __future__ import annotations

from binder_node.load.live import Live
from binder_node.load.result import Sample
from binder_node.load.run import Moment
from tests.unit.load_samples import failed, visit


def heard(live: Live, *moments: tuple[float, int, str]) -> None:
    for at, number, what in moments:
        live.take(Moment(at, number, what))


def test_users_where_they_are() -> None:
    live = Live("bids", 10, 600)
    heard(
        live,
        (0.0, 0, "came"), (0.1, 0, "page"), (0.2, 0, "built"), (3.0, 0, "ready"), (4.0, 0, "cell"),
        (1.0, 1, "came"), (1.2, 1, "waiting"), (1.4, 1, "building"),
        (2.0, 2, "came"),
    )  # fmt: skip
    assert live.line(5) == (
        "bids  5 s of 10:00 min  3 of 10 came, 2 launching, 1 in their servers, 0 done, 0 refused, 0 failed"
    )
    assert live.rows() == [["cached", "1", "1", "3.0", "3.0", "3.0"], ["built", "1", "0", "", "", ""]]
    heard(live, (61.0, 1, "built"), (62.0, 1, "ready"))
    assert live.rows()[1] == ["built", "", "1", "61.0", "61.0", "61.0"]


def test_who_left_and_why() -> None:
    live = Live("bids", 3, None)
    for number, one in enumerate((visit(0), failed(1), failed(2, outcome="refused", stage="launch", cause="quota"))):
        live.take(Moment(0.0, number, "came"))
        live.take(Moment(9.0, number, "left", one))
    assert live.line(9).endswith("0 launching, 0 in their servers, 1 done, 1 refused, 1 failed")
    assert live.causes() == ["1 failed (build): build failed", "1 refused (launch): quota"]


def test_nodes() -> None:
    live = Live("bids", 1, None)
    live.sampled(
        "bids", Sample(at=2, cpu=0.456, memory=3 * 10**9, disk=10**10, users=4, starting=1, builds=2, others=9)
    )
    live.sampled("gesis", Sample(at=2, cpu=0.1, memory=10**9, disk=10**10))
    assert live.machines() == [
        "bids: CPU 46%, memory 3.0 GB, disk 10.0 GB, pods: 4 users, 2 builds, 9 others",
        "gesis: CPU 10%, memory 1.0 GB, disk 10.0 GB",
    ]
