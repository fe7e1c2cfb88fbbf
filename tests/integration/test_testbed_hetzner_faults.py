"""The stand-in's fault switches: each goes wrong as asked, where asked, and as often as asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.integration.hetzner_judge import judged
from tests.node.harness import REPO
from tests.testbed.hetzner.server import HetznerApi

pytestmark = pytest.mark.integration
ONE = {"name": "one", "server_type": "cx23", "image": "debian-12", "location": "fsn1"}


@pytest.fixture
def cloud() -> Iterator[HetznerApi]:
    with judged(pace=0) as made:
        yield made


@pytest.fixture
def http(cloud: HetznerApi) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {cloud.token}"}
    with httpx.Client(headers=headers, base_url=cloud.endpoint, timeout=5) as made:
        yield made


def names(http: httpx.Client) -> list[str]:
    return [row["name"] for row in http.get("/servers").json()["servers"]]


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_connection_before_or_after_the_effect(cloud: HetznerApi, http: httpx.Client, after: bool) -> None:
    cloud.fault("cut", method="POST", path="/servers", after=after)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/servers", json=ONE)
    assert names(http) == (["one"] if after else [])
    assert http.post("/servers", json=ONE).status_code == (409 if after else 201)  # the switch is spent
    assert cloud.calls("POST") == [("POST", "/servers", 0), ("POST", "/servers", 409 if after else 201)]


def test_a_server_error_after_the_server_was_made(cloud: HetznerApi, http: httpx.Client) -> None:
    cloud.fault("answer", status=500, code="server_error", method="POST", path="/servers", after=True)
    answer = http.post("/servers", json=ONE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "server_error")
    assert names(http) == ["one"]


def test_too_many_requests_until_the_reset(cloud: HetznerApi, http: httpx.Client) -> None:
    cloud.fault("answer", code="rate_limit_exceeded", seconds=7, times=2)
    first, second, third = (http.get("/locations") for _ in range(3))
    assert [answer.status_code for answer in (first, second, third)] == [429, 429, 200]
    reset = int(first.headers["RateLimit-Reset"]) - datetime.now(UTC).timestamp()
    assert 5 < reset < 9
    assert first.headers["RateLimit-Remaining"] == "0"


@pytest.mark.parametrize("code", ["locked", "conflict", "unavailable", "timeout"])
def test_any_error_of_the_api(cloud: HetznerApi, http: httpx.Client, code: str) -> None:
    cloud.fault("answer", code=code, method="DELETE")
    assert http.delete("/servers/1").json()["error"]["code"] == code


def test_every_request_in_turn_dies(cloud: HetznerApi, http: httpx.Client) -> None:
    """How a test kills at each call: it counts them once, then lets the first, the second... die."""

    def run() -> None:
        http.get("/server_types")
        number = http.post("/ssh_keys", json={"name": "k", "public_key": KEY}).json()["ssh_key"]["id"]
        http.delete(f"/ssh_keys/{number}")

    run()
    count = len(cloud.calls())
    assert count == 3
    for at in range(1, count + 1):
        for after in (False, True):
            killed: list[int] = []
            cloud.app.journal.clear()
            fault = cloud.die_at(at, lambda killed=killed, at=at: killed.append(at), after=after)  # type: ignore[misc]
            with pytest.raises(httpx.RemoteProtocolError):
                run()
            assert killed == [at]
            assert [status for _, _, status in cloud.calls()][-1] == 0
            assert len(cloud.calls()) == at
            assert fault.hits == 1
            there = at == 2 and after or at == 3 and not after  # noqa: RUF021
            assert len(cloud.project.ssh_keys) == (1 if there else 0)
            cloud.project.ssh_keys.clear()


def test_a_request_is_held_until_let_go(cloud: HetznerApi, http: httpx.Client) -> None:
    fault = cloud.fault("hold", method="POST", path="/servers", after=True)
    caught: list[BaseException] = []

    def post() -> None:
        try:
            http.post("/servers", json=ONE)
        except httpx.HTTPError as error:
            caught.append(error)

    waiting = threading.Thread(target=post)
    waiting.start()
    assert fault.wait_reached(5)
    cloud.settle()
    assert [row.name for row in cloud.project.servers.values()] == ["one"]
    assert waiting.is_alive()
    fault.let_go()
    waiting.join(5)
    assert [type(error) for error in caught] == [httpx.RemoteProtocolError]


def test_an_action_sticks_until_released(cloud: HetznerApi, http: httpx.Client) -> None:
    cloud.fault("stick", command="create_server")
    made = http.post("/servers", json=ONE).json()
    first, then = made["action"]["id"], made["next_actions"][0]["id"]

    def states() -> list[str]:
        found = http.get("/actions", params={"id": [first, then]}).json()["actions"]
        return [row["status"] for row in found]

    cloud.settle()
    assert states() == ["running", "running"]
    assert http.delete(f"/servers/{made['server']['id']}").json()["error"]["code"] == "locked"
    httpx.post(f"{cloud.admin}/release").raise_for_status()
    cloud.settle()
    assert states() == ["success", "success"]


def test_stock_types_and_prices_change_under_way(cloud: HetznerApi, http: httpx.Client) -> None:
    def post(**more: Any) -> str:
        answer = http.post("/servers", json={**ONE, **more}).json()
        return str(answer["error"]["code"] if "error" in answer else answer["server"]["location"]["name"])

    def admin(**body: Any) -> None:
        httpx.post(f"{cloud.admin}/catalogue", json=body).raise_for_status()

    admin(stock_out={"type": "cx23", "location": "fsn1", "listed": False})
    assert post() == "resource_unavailable"
    assert post(location="hel1") == "hel1"
    admin(stock_out={"type": "cx23"})
    row = http.get("/server_types", params={"name": "cx23"}).json()["server_types"][0]
    assert [place["available"] for place in row["locations"]] == [False, False, False]
    admin(restock={"type": "cx23"}, price={"type": "cx23", "monthly": "9.99", "location": "fsn1"})
    row = http.get("/server_types", params={"name": "cx23"}).json()["server_types"][0]
    assert [price["price_monthly"]["net"][:4] for price in row["prices"]] == ["9.99", "3.49", "3.49"]
    admin(withdraw={"type": "cx23", "listed": False})
    assert http.get("/server_types", params={"name": "cx23"}).json()["server_types"] == []
    assert post(name="two") == "invalid_input"
    assert names(http) == ["one"]  # those that run are not touched


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clock_is_wrong(cloud: HetznerApi, http: httpx.Client, hours: int) -> None:
    httpx.post(f"{cloud.admin}/clock", json={"skew": hours * 3600}).raise_for_status()
    answer = http.post("/servers", json=ONE)
    made = datetime.fromisoformat(answer.json()["server"]["created"])
    there, here = parsedate_to_datetime(answer.headers["Date"]), datetime.now(UTC)
    assert abs(there - made) < timedelta(seconds=3)
    assert abs(there - here - timedelta(hours=hours)) < timedelta(seconds=3)


def test_two_operators_at_once_make_one_server(cloud: HetznerApi) -> None:
    codes: list[int] = []
    ready = threading.Barrier(8)

    def post() -> None:
        headers = {"Authorization": f"Bearer {cloud.token}"}
        ready.wait()
        codes.append(httpx.post(f"{cloud.endpoint}/servers", json=ONE, headers=headers).status_code)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201] + [409] * 7
    assert len(cloud.project.servers) == 1


def test_the_control_path_refuses_what_it_does_not_know(cloud: HetznerApi) -> None:
    for path, body in (("faults", {"kind": "call"}), ("faults", {"kind": "cut", "colour": 1}), ("nothing", {})):
        assert httpx.post(f"{cloud.admin}/{path}", json=body).status_code == 422
    assert httpx.post(f"{cloud.admin}/crowd", json={"count": 4}).is_success
    assert len(httpx.get(cloud.admin).json()["servers"]) == 4


def test_it_runs_as_a_process_of_its_own() -> None:
    argv = [sys.executable, "-m", "tests.testbed.hetzner", "--pace", "0"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPO, env=environment) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            headers = {"Authorization": f"Bearer {told['token']}"}
            httpx.post(f"{told['admin']}/faults", json={"kind": "answer", "status": 503}).raise_for_status()
            answers = [httpx.get(f"{told['endpoint']}/servers", headers=headers).status_code for _ in range(2)]
            assert answers == [503, 200]
            log = httpx.get(f"{told['admin']}/log").json()["log"]
            assert [(row["path"], row["status"], row["fault"]) for row in log] == [
                ("/servers", 503, "answer"),
                ("/servers", 200, ""),
            ]
        finally:
            process.terminate()
            assert process.wait(10) == 0


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
