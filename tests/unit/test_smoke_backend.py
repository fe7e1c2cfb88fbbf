"""Commands on a node as the checks have them run: what fails there is the node's failure, with words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.errors import StepError
from binder_node.node import Access
from binder_node.smoke.backend import NodeHost, host_of
from binder_node.smoke.plugin import told

ACCESS = Access("bids-1", "192.0.2.7", 22, "ubuntu", Path("key"), Path("known_hosts"), Path("ssh_config"))


def host(monkeypatch: pytest.MonkeyPatch, result: remote.Result, asked: list[str] | None = None) -> NodeHost:
    """A host whose every command ends with ``result``; what was run goes to ``asked``."""

    def run(access: Access, script: str, **more: Any) -> remote.Result:
        assert access is ACCESS
        assert more["timeout"] > 0
        (asked if asked is not None else []).append(script)
        return result

    monkeypatch.setattr(remote, "run", run)
    return host_of(ACCESS)


def test_what_a_command_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    assert host(monkeypatch, remote.Result(0, "1\n2\n", ""), asked).check_output("cat %s", "a b") == "1\n2"
    (command,) = asked
    assert command.startswith("sudo -n ")
    assert "a b" in command


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (remote.Result(1, "", "warning\ncat: /etc/x: No such file or directory\n"), "cat: /etc/x: No such file"),
        (remote.Result(2, "on stdout\n", ""), "on stdout"),
        (remote.Result(3, "", ""), "exit code 3"),
    ],
)
def test_a_command_that_fails_is_the_nodes_failure_and_no_bug(
    monkeypatch: pytest.MonkeyPatch, result: remote.Result, reason: str
) -> None:
    with pytest.raises(StepError) as failed:
        host(monkeypatch, result).check_output("cat /etc/x")
    shown = told(failed.value)
    assert shown is not None
    assert shown[0].startswith(f"look at the machine (cat /etc/x): {reason}")
    assert shown[1] == "run `binder-node up bids-1`"


def test_other_codes_may_be_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host(monkeypatch, remote.Result(1, "", "")).run_expect([0, 1], "grep x y").rc == 1
