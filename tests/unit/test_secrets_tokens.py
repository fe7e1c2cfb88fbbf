"""Tokens of APIs: three places, one order, and never a word of theirs in what is said."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from binder_node.errors import DeadlineError, InputError, StepError
from binder_node.secrets.generate import complete
from binder_node.secrets.masked import Masked
from binder_node.secrets.model import Secrets
from binder_node.secrets.tokens import KINDS, Kind, command_of, find, from_command, token
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

HELD = "held-0000"
TOKEN = "t0ken-1111"


def printing(text: str) -> tuple[str, ...]:
    return sys.executable, "-c", f"print({text!r})"


class TestOrder:
    def test_environment_before_command_before_age_file(self) -> None:
        kept = {"hcloud": Masked(HELD)}
        environ = {"HCLOUD_TOKEN": TOKEN}
        command = printing("from-command")
        assert token("bids", "hcloud", environ, command=command, kept=kept).reveal() == TOKEN
        assert token("bids", "hcloud", {}, command=command, kept=kept).reveal() == "from-command"
        assert token("bids", "hcloud", {}, kept=kept).reveal() == HELD

    def test_an_empty_variable_is_none(self) -> None:
        environ = {"CLOUDFLARE_API_TOKEN": " ", "CF_API_TOKEN": f"{TOKEN}\n"}
        assert token("bids", "cloudflare", environ).reveal() == TOKEN
        assert find("bids", "cloudflare", {"CLOUDFLARE_API_TOKEN": ""}) is None

    def test_a_kind_takes_only_its_own(self) -> None:
        kept = {"cloudflare": Masked(HELD)}
        assert find("bids", "hcloud", {"CLOUDFLARE_API_TOKEN": TOKEN}, kept=kept) is None

    def test_a_provider_of_ones_own(self) -> None:
        kind = Kind("example", "Example Cloud", ("EXAMPLE_TOKEN",), ("example",))
        assert token("bids", kind, {"EXAMPLE_TOKEN": TOKEN}).reveal() == TOKEN


class TestNode:
    """A Node brings the inventory's command and the age file's tokens."""

    def node(self, *command: str, **tokens: str) -> Any:
        from binder_node.node import Node

        spec = SimpleNamespace(name="bids", provider=SimpleNamespace(kind="hetzner", token_command=command))
        secrets = Secrets.model_validate({**complete({}), "tokens": tokens})
        return Node(cast("Spec", spec), secrets, {}, {}, Path("/nowhere"))

    def test_its_command_and_its_tokens(self) -> None:
        assert token(self.node(*printing(TOKEN), hcloud=HELD), "hcloud", {}).reveal() == TOKEN
        assert token(self.node(hcloud=HELD), "hcloud", {}).reveal() == HELD

    def test_another_sections_command_is_not_run(self) -> None:
        assert command_of(self.node(*printing(TOKEN)).spec, KINDS["cloudflare"]) == ()

    def test_a_spec_of_today(self) -> None:
        assert command_of(sample_spec(), KINDS["hcloud"]) == ()


class TestMissing:
    def test_a_node_has_three_ways(self) -> None:
        with pytest.raises(InputError) as caught:
            token("bids", "hcloud", {})
        assert str(caught.value) == (
            "bids: there is no API token for Hetzner Cloud; set HCLOUD_TOKEN in the environment, "
            "or say in the inventory what prints it (provider.token_command: [pass, show, hcloud]), "
            "or keep it encrypted with the node's secrets (`binder-node secrets set bids tokens.hcloud`)"
        )

    def test_without_a_node_there_is_one(self) -> None:
        with pytest.raises(InputError) as caught:
            token("", "cloudflare", {})
        assert str(caught.value) == "there is no API token for Cloudflare; set CLOUDFLARE_API_TOKEN in the environment"

    def test_the_section_that_talks_to_the_api_is_named(self) -> None:
        spec = SimpleNamespace(
            name="bids", provider=SimpleNamespace(kind="ssh"), dns=SimpleNamespace(kind="hetzner", token_command=())
        )
        with pytest.raises(InputError, match=r"dns\.token_command: \[pass, show, hcloud\]"):
            token(cast("Spec", spec), "hcloud", {})

    @pytest.mark.parametrize(
        "text", [f"{TOKEN}\r\nX-Evil: 1", f"{TOKEN} {TOKEN}", f"{TOKEN}\x00", TOKEN * 1000, "tökén"]
    )
    def test_no_token_at_all(self, text: str) -> None:
        with pytest.raises(InputError, match="HCLOUD_TOKEN: the token for Hetzner Cloud has") as caught:
            token("bids", "hcloud", {"HCLOUD_TOKEN": text})
        assert TOKEN not in str(caught.value)
        assert "tökén" not in str(caught.value)

    def test_a_password_may_have_spaces(self) -> None:
        assert token("bids", "openstack", {"OS_PASSWORD": "correct hörse"}).reveal() == "correct hörse"
        with pytest.raises(InputError):
            token("bids", "openstack", {"OS_PASSWORD": "correct\nhorse"})


class TestCommand:
    def test_no_shell(self, tmp_path: Path) -> None:
        trap = tmp_path / "trap"
        found = from_command(["echo", f"$(touch {trap})"], "bids", os.environ)
        assert found.reveal() == f"$(touch {trap})"
        assert not trap.exists()

    def test_it_has_the_environment_and_no_stdin(self) -> None:
        code = "import os, sys; print(os.environ['VAULT'] + sys.stdin.read())"
        assert from_command([sys.executable, "-c", code], "bids", {**os.environ, "VAULT": "v1"}).reveal() == "v1"

    def test_stderr_is_shown_and_stdout_is_not(self) -> None:
        code = f"import sys; print('{TOKEN}'); sys.exit('vault is locked (had {TOKEN})')"
        with pytest.raises(StepError) as caught:
            from_command([sys.executable, "-c", code], "bids", os.environ)
        assert str(caught.value) == (
            f"bids: run token_command {sys.executable}: exit code 1: vault is locked (had ***)"
            " -> run it by hand; it has to print the token and nothing else"
        )

    def test_it_is_not_there(self) -> None:
        with pytest.raises(StepError, match="No such file or directory -> give the full path of a program"):
            from_command(["pass show hcloud"], "bids", os.environ)

    def test_it_prints_nothing(self) -> None:
        with pytest.raises(StepError, match="it printed nothing"):
            from_command(printing(""), "bids", os.environ)

    def test_it_has_a_deadline(self) -> None:
        began = time.monotonic()
        code = f"import time; print('{TOKEN}', flush=True); time.sleep(60)"
        with pytest.raises(DeadlineError) as caught:
            from_command([sys.executable, "-c", code], "bids", os.environ, seconds=0.5)
        assert time.monotonic() - began < 10
        assert TOKEN not in str(caught.value)
        assert caught.value.what == f"token_command {sys.executable}"

    def test_more_than_a_token_is_refused(self) -> None:
        with pytest.raises(InputError, match="token_command") as caught:
            token("bids", "hcloud", {}, command=printing(f"{TOKEN}\nlogin: me"))
        assert TOKEN not in str(caught.value)
