"""The archive's launches counted, build tokens taken out of pages, and a look at a node read."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path

import jwt
import pytest

from binder_node import remote
from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.federation.archive import Popular, days, file_name, launched, popular
from binder_node.federation.looking import _on_node, _parts, disk
from binder_node.federation.measured import Disk
from binder_node.federation.tokens import of_page, signed
from binder_node.lifecycle.warming import most_launched
from binder_node.node import Access
from binder_node.remote import Result
from binder_node.secrets.masked import Masked
from tests.unit.test_federation_ramp import METRICS


def event(provider: str, spec: str, **more: object) -> str:
    base = {"schema": "binderhub.jupyter.org/launch", "version": 6, "status": "success"}
    return json.dumps({**base, "provider": provider, "spec": spec, **more})


def test_successful_launches_are_counted_by_what_build_takes() -> None:
    git = "https%3A%2F%2Fexample.org%2Fc/main"
    lines = [
        event("GitHub", "a/b/HEAD"),
        event("Git", git, version=9, new_key="of a later schema"),
        event("GitHub", "a/b/HEAD", version=1),
        event("GitHub", "a/b/v1", status="failure"),
        event("Nobody", "a/b/HEAD"),
        event("Zenodo", "10.5281/zenodo.1"),
        json.dumps({"schema": "binderhub.jupyter.org/other", "status": "success", "provider": "GitHub", "spec": "x/y"}),
        "cut off {",
        "",
    ]
    found = popular(launched(lines), 2)
    assert found == [Popular("gh/a/b/HEAD", 2), Popular(f"git/{git}", 1)]
    assert [one.path for one in popular(launched(lines), 9)][-1] == "zenodo/10.5281/zenodo.1"


def test_days_are_whole_ones() -> None:
    assert days(date(2026, 3, 1), 2) == [date(2026, 2, 28), date(2026, 2, 27)]
    assert file_name(date(2026, 3, 1)) == "events-2026-03-01.jsonl"


def test_an_archive_without_a_launch_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "events-2026-03-01.jsonl").write_text(f"{event('GitHub', 'a/b/HEAD', schema='another/one')}\n")
    with pytest.raises(StepError, match="there is none that succeeded"):
        most_launched(str(tmp_path), 7, 5, silent)


@pytest.mark.parametrize("page", ["", "<html>", "window.pageConfig = nothing", 'window.pageConfig = {"x": 1};'])
def test_a_page_without_a_token_has_none(page: str) -> None:
    assert of_page(page) == ""


def test_a_token_tells_whose_secret_signed_it() -> None:
    mine, theirs = "ab" * 32, "cd" * 32
    token = jwt.encode({"aud": "gh/a/b"}, bytes.fromhex(mine), algorithm="HS256")
    assert signed(token, Masked(mine))
    assert not signed(token, Masked(theirs))
    assert not signed(token, Masked("no hexadecimal"))
    assert not signed("no token", Masked(mine))


DF = """\
Filesystem     1-blocks        Used   Available Capacity Mounted on
/dev/sda1   40000000000 10000000000 30000000000      25% /
/dev/sdb1   90000000000 63000000000 27000000000      70% /var/lib/binder
"""


def test_the_fullest_disk_counts() -> None:
    assert disk(DF, pressure=True) == Disk("/var/lib/binder", 70.0, True)
    assert disk("df: no such file\n", pressure=False) is None


def test_a_replica_that_breaks_off_is_left_out_and_the_rest_is_read() -> None:
    answers = "@@ metrics binder-1\na 1\nb 2\n@@ metrics binder-2\nError\n@@ silent binder-2\n"
    found = dict(_parts(f"{answers}@@ disk\nrow\n@@ pressure\nFalse"))
    assert found == {"metrics binder-1": "a 1\nb 2", "disk": "row", "pressure": "False"}


K3S = """\
#!/bin/sh
case "$*" in
*"get pods -A"*) printf 'binder/pods/binder-1 other/pods/binder-2 ' ;;
*namespaces/binder/pods/binder-1:8585/proxy/metrics) cat {metrics} ;;
*namespaces/other/pods/binder-2:8585/proxy/metrics) echo "no route"; exit 1 ;;
*"get nodes"*) printf 'True' ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


def test_the_nodes_script_asks_each_replica_and_the_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metrics").write_text(METRICS)
    k3s = tmp_path / "k3s"
    k3s.write_text(K3S.format(metrics=tmp_path / "metrics"))
    k3s.chmod(0o755)

    def run(_: Access, script: str, **__: object) -> Result:
        done = subprocess.run(
            ["sh", "-c", script],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    monkeypatch.setattr(remote, "run", run)
    here = Access("new", "127.0.0.1", 22, "root", tmp_path, tmp_path, tmp_path)
    found, full = _on_node(here, tmp_path)
    assert [one.launches for one in found] == [{"success": 10, "failure": 1, "pod_quota": 4}]
    assert [one.pod for one in found] == ["binder/pods/binder-1"]
    assert full is not None
    assert full.pressure
    assert 0 <= full.used <= 100

    k3s.write_text("#!/bin/sh\necho connection refused >&2\nexit 1\n")
    with pytest.raises(StepError, match="connection refused"):
        _on_node(here, tmp_path)
