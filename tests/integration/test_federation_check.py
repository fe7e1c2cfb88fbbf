"""``federation check`` against members that answer, lag, fill up, lie and die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from binder_node.cli.main import app
from binder_node.errors import StepError
from binder_node.federation.ask import Checked, Way, active_hosts, check, watch
from binder_node.federation.config import Federation, parse
from tests.integration.federation_fixtures import PlayedMember, config, members

Members = dict[str, PlayedMember]


@pytest.fixture
def three() -> Iterator[Members]:
    with members("prime", "bids", "gesis") as found:
        yield found


def federation(found: Members, **more: Any) -> Federation:
    return parse(json.dumps(config(found, **more)), "config.json")


def outcome(checked: tuple[Checked, ...]) -> dict[str, tuple[bool, str]]:
    return {one.member.name: (one.verdict.inside, one.verdict.cause) for one in checked}


def test_all_are_in_and_asked_five_times_as_the_redirector_asks(three: Members) -> None:
    found = check(federation(three))
    assert outcome(found) == dict.fromkeys(three, (True, ""))
    assert three["bids"].asked == ["/versions", "/health"] * 5
    assert found[1].pods == (0, 100)


def test_each_way_out_with_its_cause(three: Members) -> None:
    three["bids"].versions["binderhub"] = "older"
    three["gesis"].users = 90
    found = check(federation(three))
    assert outcome(found)["bids"] == (False, "versions")
    assert outcome(found)["gesis"] == (False, "Pod quota")
    assert found[2].pods == (90, 100)
    assert len(found[1].attempts) == len(found[2].attempts) == 1  # findings are not tried again


def test_a_dead_hub_and_a_dead_machine_are_tried_five_times(three: Members) -> None:
    three["bids"].hub = False
    three["gesis"].stop()
    began = time.monotonic()
    found = check(federation(three))
    assert 4 <= time.monotonic() - began < 8  # four pauses of a second
    assert outcome(found)["bids"] == outcome(found)["gesis"] == (False, "unknown")
    assert found[1].verdict.reasons == ("health: HTTP 503 Service Unavailable: JupyterHub API not ok",)
    assert len(found[2].attempts) == 5


def test_an_answer_has_to_be_whole_within_the_timeout(three: Members) -> None:
    three["bids"].delay = 0.5
    found = check(federation(three, check={"retries": 1, "timeout": 0.2}), ["bids"])
    assert found[0].verdict.reasons == ("versions: no answer within 0.2 s",)
    assert 0.2 <= found[0].slowest < 0.45


def test_what_is_no_document_of_binderhubs(three: Members) -> None:
    three["bids"].instead["/health"] = (200, "<html>maintenance</html>")
    three["gesis"].instead["/versions"] = (404, "404 page not found")
    found = check(federation(three, check={"retries": 1}), ["bids", "gesis"])
    assert found[0].verdict.reasons == ("health: HTTP 200, but no JSON: '<html>maintenance</html>'",)
    assert found[1].verdict.reasons == ("versions: HTTP 404 Not Found: 404 page not found",)


def test_with_the_prime_dead_others_are_held_against_its_last_versions(three: Members) -> None:
    three["prime"].stop()
    rules = federation(three, check={"retries": 1})
    assert outcome(check(rules, ["bids"]))["bids"] == (True, "")
    assert outcome(check(rules, ["bids"], prime={"binderhub": "newer"}))["bids"] == (False, "versions")


def test_a_member_is_asked_at_its_address_under_its_name(three: Members) -> None:
    three["bids"].url = f"http://bids.test:{three['bids'].port}"
    found = check(federation(three), ["bids"], way=Way({"bids.test": three["bids"].address}))
    assert found[0].verdict.inside


def test_watching_sees_a_member_go_and_come_back_in_the_redirectors_times(three: Members) -> None:
    seen: list[tuple[float, bool]] = []
    began = time.monotonic()

    def note(found: Checked) -> None:
        seen.append((time.monotonic() - began, found.verdict.inside))
        three["bids"].quota = 0 if len(seen) == 2 else 100

    watch(federation(three), ["bids"], note, seconds=6)
    assert [inside for _, inside in seen[:4]] == [True, True, False, True]
    times = [at for at, _ in seen]
    assert 0.55 < times[1] - times[0] < 1.1
    assert times[3] - times[2] > 1.1  # looked at less often while it is out


def test_what_the_watcher_raises_ends_watching(three: Members) -> None:
    def refuse(found: Checked) -> None:
        raise StepError(found.member.name, "watch", "enough")

    for names in (["prime"], ["bids"]):
        with pytest.raises(StepError, match="enough"):
            watch(federation(three), names, refuse, seconds=5)


def test_an_interrupted_watch_ends_with_what_was_seen_last(three: Members, tmp_path: Path) -> None:
    three["gesis"].quota = 0
    (tmp_path / "config.json").write_text(json.dumps(config(three)))
    argv = ["federation", "check", "--config", "config.json", "--watch", "-o", "json"]
    code = "from binder_node.cli.main import run; run()"
    process = subprocess.Popen([sys.executable, "-c", code, *argv], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = {json.loads(process.stdout.readline())["data"]["name"] for _ in range(6)}
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert (seen, process.returncode) == (set(three), 1)


def run(folder: Path, found: Members, *arguments: str, **more: Any) -> Result:
    file = folder / "config.json"
    file.write_text(json.dumps(config(found, **more)))
    return CliRunner().invoke(app, ["federation", "check", "--config", str(file), *arguments])


def test_the_command_tells_people_and_machines(three: Members, tmp_path: Path) -> None:
    shown = run(tmp_path, three)
    assert shown.exit_code == 0, shown.output
    assert "prime (prime)" in shown.stderr
    three["gesis"].quota = 0
    shown = run(tmp_path, three)
    assert shown.exit_code == 1
    assert "gesis is out: Pod quota: a quota of 0 takes nobody, as 10 pods are kept free (0 run)" in shown.stderr
    document = json.loads(run(tmp_path, three, "--member", "gesis", "-o", "json").stdout)
    assert document["ok"] is False
    assert [(one["name"], one["inside"], one["cause"], one["quota"]) for one in document["members"]] == [
        ("gesis", False, "Pod quota", 0)
    ]


def test_one_that_has_no_weight_may_be_out(three: Members, tmp_path: Path) -> None:
    three["gesis"].weight, three["gesis"].quota = 0, 0
    shown = run(tmp_path, three, "-o", "json")
    assert (shown.exit_code, json.loads(shown.stdout)["ok"]) == (0, True)


def test_a_running_redirectors_own_word_is_shown_beside(three: Members, tmp_path: Path) -> None:
    three["prime"].instead["/active_hosts"] = (200, json.dumps({"active_hosts": {"prime": {}, "gesis": {}}}))
    document = json.loads(run(tmp_path, three, "--redirector", three["prime"].url, "-o", "json").stdout)
    assert {one["name"]: one["redirector"] for one in document["members"]} == {
        "prime": True,
        "bids": False,
        "gesis": True,
    }
    with pytest.raises(StepError, match="ask the redirector for its members"):
        active_hosts(three["bids"].url)


def test_watch_writes_a_line_for_each_change(three: Members, tmp_path: Path) -> None:
    bids = three["bids"]

    def fill() -> None:
        """When its second check has begun (the first, of ten requests, is answered) there is no room any more."""
        until = time.monotonic() + 20
        while len(bids.asked) <= 10 and time.monotonic() < until:
            time.sleep(0.01)
        bids.quota = 0

    threading.Thread(target=fill).start()
    shown = run(tmp_path, three, "--member", "bids", "--watch", "--for", "8", "-o", "json")
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    changes = [(event["kind"], event["data"]["inside"]) for event in events if event["data"]["changed"]]
    assert changes == [("done", True), ("warn", False)]
    assert shown.exit_code == 1


def test_a_wrong_configuration_is_refused_before_anybody_is_asked(three: Members, tmp_path: Path) -> None:
    three["prime"].weight = 0
    shown = run(tmp_path, three)
    assert shown.exit_code == 2
    assert "hosts.prime.weight: the prime has no weight" in shown.stderr
    assert three["prime"].asked == []
    for words, said in (
        ([], "NODE: neither a node nor --config"),
        (["bids", "--member", "gesis"], "--member: has no meaning without --config"),
        (["bids", "--watch", "--redirector", three["prime"].url], "--redirector: is asked once"),
    ):
        wrong = CliRunner().invoke(app, ["federation", "check", *words])
        assert (wrong.exit_code, said in wrong.stderr) == (2, True)
