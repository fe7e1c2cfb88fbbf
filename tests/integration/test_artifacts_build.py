"""Programs really built from Go modules. They need Go and a module proxy, and are skipped without."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from binder_node.artifacts.build import go_version
from binder_node.artifacts.store import Limits, Sources
from binder_node.errors import DeadlineError, StepError
from tests.integration import artifacts_fixtures as af
from tests.integration.artifacts_fixtures import Told, leftovers, pins, store, until

pytestmark = pytest.mark.integration

HELLO: dict[str, Any] = {"module": "rsc.io/hello", "version": "v1.0.0", "package": "rsc.io/hello"}


@pytest.fixture(scope="module", autouse=True)
def proxy() -> None:
    """Skip where Go or its proxy is not to be had."""
    try:
        go_version()
    except StepError as error:
        pytest.skip(str(error))
    asked = subprocess.run(
        ["go", "list", "-m", "rsc.io/hello@v1.0.0"], capture_output=True, cwd="/", timeout=60, check=False
    )
    if asked.returncode:
        pytest.skip("no Go module proxy is reached")


def run(path: Path) -> str:
    return subprocess.run([path], capture_output=True, text=True, timeout=10, check=True, env={"LANG": "en"}).stdout


def test_a_module_becomes_a_program_once(tmp_path: Path) -> None:
    mine, told = store(tmp_path / "cache", pins(tmp_path, hello={"module": HELLO})), Told()
    artifact = mine.ensure(["hello"], told)["hello"]
    assert artifact.version == "v1.0.0"
    assert run(artifact.path) == "Hello, world.\n"
    assert [event.data["source"] for event in told.events if event.kind == "done"] == ["module"]
    assert any(message.startswith("hello: ") for message in told.messages("progress"))
    again = Told()
    assert mine.ensure(["hello"], again)["hello"] == artifact
    assert again.events == []
    assert len(leftovers(tmp_path / "cache")) == 1


def test_the_same_pin_gives_the_same_bytes_in_another_folder(tmp_path: Path) -> None:
    made = pins(tmp_path, hello={"module": HELLO})
    first = store(tmp_path / "one", made).ensure(["hello"])["hello"]
    second = store(tmp_path / "elsewhere/two", made).ensure(["hello"])["hello"]
    assert first.sha256 == second.sha256


def test_a_replaced_module_is_what_goes_in(tmp_path: Path) -> None:
    # rsc.io/sampler v1.99.99 says something else than v1.3.0 does.
    other = {**HELLO, "replace": {"rsc.io/sampler": "rsc.io/sampler@v1.99.99"}, "exclude": ["rsc.io/sampler@v1.3.1"]}
    found = store(tmp_path / "cache", pins(tmp_path, hello={"module": other})).ensure(["hello"])
    assert run(found["hello"].path).startswith("99 bottles of beer on the wall")


def test_a_build_for_another_processor(tmp_path: Path) -> None:
    found = store(tmp_path / "cache", pins(tmp_path, hello={"module": HELLO}), arch="arm64").ensure(["hello"])
    (machine,) = struct.unpack_from("<H", found["hello"].path.read_bytes(), 18)
    assert machine == 183  # EM_AARCH64, elf(5)


def test_gos_own_words_are_shown(tmp_path: Path) -> None:
    made = pins(tmp_path, hello={"module": {**HELLO, "version": "v1.99.0"}})
    with pytest.raises(StepError, match=r"build hello: go get: .*rsc.io/hello@v1.99.0.*v1.99.0") as caught:
        store(tmp_path / "cache", made).ensure(["hello"])
    assert caught.value.remedy
    assert leftovers(tmp_path / "cache") == []


def test_without_go_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match=r"no `go` command is on the path -> install Go"):
        store(tmp_path / "cache", pins(tmp_path, hello={"module": HELLO})).ensure(["hello"])


def test_a_build_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = fake_go(tmp_path, monkeypatch)
    mine = store(tmp_path / "cache", pins(tmp_path, hello={"module": HELLO}), limits=Limits(build=1.0))
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="waited 1 s for the build of hello: compiling"):
        mine.ensure(["hello"])
    assert time.monotonic() - began < 5
    child = int(stuck.read_text(encoding="utf-8"))
    until(lambda: not alive(child), "the child's end")
    assert leftovers(tmp_path / "cache") == []


def test_ctrl_c_ends_a_build_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = fake_go(tmp_path, monkeypatch)
    overlay = tmp_path / "overlay.toml"
    table = '[hello.module]\nmodule = "rsc.io/hello"\nversion = "v1.0.0"\npackage = "rsc.io/hello"\n'
    overlay.write_text('[hello]\nversion = "1"\n' + table, encoding="utf-8")
    process = af.command(tmp_path / "cache", overlay, "build", "hello")
    until(lambda: stuck.exists() and stuck.read_text(encoding="utf-8").strip() != "", "the build")
    process.send_signal(signal.SIGINT)
    code, _, err = af.ended(process, 10)
    assert (code, "interrupted" in err) == (130, True), err
    until(lambda: not alive(int(stuck.read_text(encoding="utf-8"))), "the child's end")
    assert leftovers(tmp_path / "cache") == []


def test_a_second_source_stands_in_for_a_failing_build(tmp_path: Path) -> None:
    data = b"a program"
    with af.vendor() as vendor:
        url = vendor.serve("/hello", data)
        table = {**af.release(url, af.sha256(data)), "module": {**HELLO, "version": "v1.99.0"}}
        told = Told()
        mine = store(tmp_path / "cache", pins(tmp_path, hello=table), sources=Sources(("module", "release")))
        assert mine.ensure(["hello"], told)["hello"].path.read_bytes() == data
    assert "trying the next source" in told.messages("warn")[0]


def fake_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``go`` that never ends and has a child; returns the file in which the child's pid will stand."""
    pid = folder / "child.pid"
    script = folder / "bin/go"
    script.parent.mkdir()
    script.write_text(
        f"#!/bin/sh\n[ $1 = env ] && echo go9.9 && exit\necho compiling\nsleep 300 & echo $! > {pid}; wait\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return pid


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
