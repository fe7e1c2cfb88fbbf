"""Hours of a federation, played: shares, quotas, losses, weights; what demand is made of; the picture."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from binder_node.cli.main import app
from binder_node.errors import InputError
from binder_node.federation import scenario
from binder_node.federation.config import CHART, Federation, member_at
from binder_node.federation.demand import Arrival, recorded, synthetic
from binder_node.federation.plot import svg
from binder_node.federation.simulate import Capacity, Change, Load, Scenario, Tally, simulate

HOUR = 3600.0
THREE = Federation(
    (
        member_at("prime", "http://prime", 50, True),
        member_at("bids", "http://bids", 20),
        member_at("x", "http://x", 10),
    ),
    CHART,
)


def each(seconds: float, count: int) -> list[Arrival]:
    """Somebody new every ``seconds``."""
    return [Arrival(number * seconds, f"/build/gh/o/r{number}/HEAD", number) for number in range(count)]


def play(arrivals: list[Arrival], **more: Any) -> dict[str, Tally]:
    found = simulate(Scenario(**{"federation": THREE, "arrivals": arrivals, "redirectors": 1, **more}))
    return {tally.name: tally for tally in found.tallies}


def test_shares_follow_the_weights_while_all_are_well() -> None:
    found = play(each(1, 8000))
    assert {name: tally.requests for name, tally in found.items()} == {
        "prime": pytest.approx(5000, abs=150),
        "bids": pytest.approx(2000, abs=120),
        "x": pytest.approx(1000, abs=100),
    }
    assert all(tally.refused == tally.failed == tally.drops == 0 and tally.out == 0 for tally in found.values())


def test_the_same_seed_is_the_same_day() -> None:
    one = simulate(Scenario(THREE, each(1, 500), seed=7))
    assert one == simulate(Scenario(THREE, each(1, 500), seed=7))
    assert one != simulate(Scenario(THREE, each(1, 500), seed=8))


def test_a_member_of_weight_nought_gets_nothing_and_is_not_looked_at() -> None:
    federation = scenario.weights(["bids=0"], THREE)[0]
    found = play(each(1, 1000), federation=federation)
    assert found["bids"].requests == 0
    assert found["prime"].requests == pytest.approx(833, abs=50)


def test_a_member_leaves_ten_below_its_quota_and_comes_back_as_sessions_end() -> None:
    load = Load(session=600, fresh=0, counted=0)
    found = play(each(2, 5000), capacities={"bids": Capacity(60)}, load=load)["bids"]
    assert found.drops > 3
    assert 50 <= found.peak <= 60
    assert found.refused == 0
    assert 0.3 < found.out / 10_000 < 0.9


def test_counting_pods_once_a_minute_lets_a_rush_pass_the_quota() -> None:
    """BinderHub's count is up to a minute old: ten free pods do not last that long in a rush."""
    rush, quota = each(0.2, 3000), {"bids": Capacity(60)}
    assert play(rush, capacities=quota, load=Load(fresh=0, counted=0))["bids"].refused < 20
    assert play(rush, capacities=quota, load=Load(fresh=0, counted=60))["bids"].refused > 60


def test_a_lost_member_gets_requests_until_five_attempts_have_failed() -> None:
    changes = (Change(100, "bids", state="lost"), Change(400, "bids", state="well"))
    found = play(each(0.1, 8000), changes=changes)["bids"]
    # A period, five timeouts and four pauses: 29 to 45 s, of ten requests a second a quarter.
    assert 29 * 2.5 * 0.7 < found.failed < 45 * 2.5 * 1.3
    assert found.drops == 1
    assert 300 - 45 < found.out < 300 - 29 + 95 + 29


def test_a_refusing_one_is_noticed_sooner_than_a_silent_one() -> None:
    def failed(state: Any) -> int:
        return play(each(0.1, 3000), changes=(Change(100, "bids", state=state),))["bids"].failed

    assert failed("refusing") < failed("lost")


def test_a_dead_hub_counts_when_binderhub_looks_at_it() -> None:
    changes = (Change(100, "bids", state="hub down"),)
    asked_often = play(each(0.1, 3000), changes=changes, load=Load(hub_asked=0))["bids"]
    asked_rarely = play(each(0.1, 3000), changes=changes, load=Load(hub_asked=60))["bids"]
    assert 0 < asked_often.failed < asked_rarely.failed
    assert asked_rarely.peak > 0  # sessions go on without a hub


def test_versions_that_differ_keep_a_member_out_and_new_ones_of_the_prime_all_others() -> None:
    lagging = play(each(1, 1000), changes=(Change(200, "bids", versions="old"),))
    assert (lagging["bids"].drops, lagging["x"].drops) == (1, 0)
    prime = play(each(1, 1000), changes=(Change(200, "prime", versions="new"),))
    assert [tally.drops for tally in prime.values()] == [0, 1, 1]
    assert prime["bids"].failed == 0


def test_with_nobody_left_the_prime_takes_all_and_refuses() -> None:
    none = {"prime": Capacity(0), "bids": Capacity(0), "x": Capacity(0)}
    found = play(each(1, 500), capacities=none, load=Load(fresh=0))
    assert found["prime"].requests == found["prime"].refused == 500
    assert found["prime"].out == pytest.approx(499, abs=1)


def test_a_cookie_brings_people_back_to_where_they_were() -> None:
    again = [Arrival(number * 10.0, f"/build/gh/o/r{number % 10}/HEAD", number % 10) for number in range(1000)]
    found = play(again)
    assert sum(tally.by_cookie for tally in found.values()) == 990
    late = [Arrival(number * 5 * HOUR, "/build/gh/o/r/HEAD", 0) for number in range(100)]
    assert sum(tally.by_cookie for tally in play(late).values()) == 0


def test_a_new_weight_holds_from_its_moment_on() -> None:
    found = simulate(Scenario(THREE, each(1, 8000), changes=(Change(4000, "bids", weight=200),), steps=2))
    assert found.tallies[1].sent == [pytest.approx(1000, abs=120), pytest.approx(3077, abs=150)]


def test_a_cold_member_builds_each_repository_once() -> None:
    arrivals = [Arrival(number * 5.0, f"/build/gh/o/r{number % 40}/HEAD", number) for number in range(4000)]
    found = play(arrivals, capacities={"bids": Capacity(cold=True)}, load=Load(fresh=0))
    assert (found["bids"].builds, found["prime"].builds) == (40, 0)


def test_who_waits_for_the_same_build_shares_its_pod() -> None:
    arrivals = [Arrival(number * 0.1, "/build/gh/o/r/HEAD", number) for number in range(100)]
    found = play(arrivals, federation=replace(THREE, members=THREE.members[:1]), load=Load(fresh=1, build=1e9))
    assert (found["prime"].builds, found["prime"].peak) == (1, 1)


def test_made_up_demand_has_the_days_shape_and_few_repositories_that_many_ask_for() -> None:
    found = synthetic(hours=24, per_hour=500, swing=0.5, repositories=100, returning=0, seed=1)
    assert len(found) == pytest.approx(12_000, rel=0.05)
    by_hour = Counter(int(arrival.at / HOUR) for arrival in found)
    assert by_hour[15] == pytest.approx(750, rel=0.15)
    assert by_hour[3] == pytest.approx(250, rel=0.25)
    paths = Counter(arrival.path for arrival in found).most_common()
    assert paths[0][1] == pytest.approx(12_000 / 5.187, rel=0.1)  # 1 / (1 + 1/2 + ... + 1/100)
    assert [arrival.at for arrival in found] == sorted(arrival.at for arrival in found)


def test_some_come_again_with_their_cookie() -> None:
    found = synthetic(hours=10, per_hour=1000, returning=0.3, seed=1)
    visitors = Counter((arrival.visitor, arrival.path) for arrival in found)
    assert len(found) - len(visitors) == pytest.approx(0.3 * len(found), rel=0.1)


LAUNCHES = """\
{"timestamp": "2026-11-20T10:00:00+00:00", "provider": "GitHub", "spec": "org/repo/main", "status": "success"}

{"timestamp": "2026-11-20T10:02:00+00:00", "provider": "Zenodo", "spec": "10.5281/zenodo.1", "status": "success"}
{"timestamp": "2026-11-20T10:01:00+00:00", "provider": "GitLab", "spec": "org%2Frepo/main", "status": "success"}
"""


def test_the_archives_launches_in_order_within_their_minutes() -> None:
    found = recorded(LAUNCHES.splitlines(), "events.jsonl")
    assert [arrival.path for arrival in found] == [
        "/build/gh/org/repo/main",
        "/build/gl/org%2Frepo/main",
        "/build/zenodo/10.5281/zenodo.1",
    ]
    assert [int(arrival.at / 60) for arrival in found] == [0, 1, 2]
    assert len(recorded(LAUNCHES.splitlines(), "events.jsonl", scale=2)) == 6


def test_what_is_no_launch_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match=r"events.jsonl:2: is no launch of the archive"):
        recorded(['{"timestamp": "2026-11-20T10:00:00Z", "provider": "Git", "spec": "x"}', "{}"], "events.jsonl")
    with pytest.raises(InputError, match=r"has no launches"):
        recorded([], "events.jsonl")


def test_spans_and_times_as_they_are_written() -> None:
    assert scenario.span("bids@2h-150m", THREE, "--lose") == scenario.Span("bids", 7200, 9000)
    assert scenario.span("x@30s", THREE, "--lose") == scenario.Span("x", 30, None)
    assert scenario.duration("1.5h", "--session") == 5400


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bids", "write a member and a time"),
        ("nobody@2h", "there is no such member: prime, bids, x"),
        ("bids@2", "write a time like"),
        ("bids@3h-2h", "the end comes after the beginning"),
    ],
)
def test_wrong_spans_are_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        scenario.span(text, THREE, "--lose")


def test_what_the_redirector_would_not_start_with_is_refused() -> None:
    with pytest.raises(InputError, match="a prime needs a weight"):
        scenario.weights(["prime=0@2h"], THREE)
    with pytest.raises(InputError, match="it is a member already"):
        scenario.added(["bids=20"], THREE)
    with pytest.raises(InputError, match="say its quota"):
        scenario.drained(scenario.span("bids@1h-2h", THREE, "--drain"), None)


def test_the_picture_shows_each_member_its_quota_and_what_was_lost() -> None:
    played = Scenario(
        THREE,
        each(10, 2000),
        {"bids": Capacity(60)},
        changes=(Change(9000, "x", state="lost"),),
    )
    picture = ElementTree.fromstring(svg(simulate(played), {"bids": 60}, "a < b"))
    tag = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in picture.iter(f"{tag}text")]
    assert {"a < b", "prime", "bids", "x", "lost", "pods (dashed: quota)", "in rotation"} <= set(texts)
    assert len(list(picture.iter(f"{tag}polyline"))) == 3
    assert len([line for line in picture.iter(f"{tag}line") if line.get("stroke-dasharray")]) == 1


def run(folder: Path, *arguments: str) -> Result:
    hosts = {
        name: {"prime": name == "prime", "url": f"http://{name}", "weight": weight}
        | {part: f"http://{name}/{part}" for part in ("health", "versions")}
        for name, weight in (("prime", 50), ("bids", 50))
    }
    file = folder / "config.json"
    file.write_text(json.dumps({"hosts": hosts, "load_balancer": "random"}))
    return CliRunner().invoke(app, ["federation", "simulate", "--config", str(file), "--hours", "3", *arguments])


def test_the_command_shows_a_day_as_it_is_and_as_it_would_be(tmp_path: Path) -> None:
    picture = tmp_path / "lost.svg"
    shown = run(tmp_path, "--lose", "prime@1h-2h", "--per-hour", "6000", "--plot", str(picture), "-o", "json")
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    assert document["before"]["failed"] == 0 < document["after"]["failed"]
    assert document["before"]["requests"] == document["after"]["requests"]
    prime, bids = document["after"]["members"]
    assert bids["share"] > 0.6 > prime["share"]
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")


def test_without_anything_that_happens_there_is_one_table(tmp_path: Path) -> None:
    shown = run(tmp_path, "--quota", "bids=60")
    assert shown.exit_code == 0
    assert "with what happens" not in shown.stderr
    assert json.loads(run(tmp_path, "-o", "json").stdout)["before"] is None


def test_a_new_member_begins_cold_beside_the_others(tmp_path: Path) -> None:
    document = json.loads(run(tmp_path, "--add", "new=50", "--fresh", "0", "-o", "json").stdout)
    assert [row["name"] for row in document["before"]["members"]] == ["prime", "bids"]
    new = document["after"]["members"][2]
    assert new["share"] == pytest.approx(1 / 3, abs=0.05)
    assert new["builds"] > 50


def test_recorded_demand_from_files(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(LAUNCHES)
    document = json.loads(run(tmp_path, "--demand", str(tmp_path / "events.jsonl"), "-o", "json").stdout)
    assert document["after"]["requests"] == 3
    assert run(tmp_path, "--demand", "none.jsonl").exit_code == 2


def test_what_was_written_wrong_is_refused(tmp_path: Path) -> None:
    shown = run(tmp_path, "--lose", "bid@1h")
    assert (shown.exit_code, shown.stderr) == (2, "--lose: 'bid'; there is no such member: prime, bids\n")
