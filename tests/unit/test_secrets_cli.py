"""`binder-node secrets`: what operators see of it, and that no value is ever among that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from binder_node.cli.main import app
from binder_node.secrets.generate import private_key, public_key
from binder_node.secrets.store import SecretStore
from tests.unit.test_secrets_store import INVENTORY

GIVEN = "gi7en-token-of-a-cloud"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("BINDER_NODE_SECRETS_DIR", "BINDER_NODE_DEBUG", "BINDER_NODE_S3_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BINDER_NODE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BINDER_NODE_IDENTITY", str(tmp_path / "identity.txt"))
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/node.yaml").write_text(INVENTORY)
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["secrets", *arguments], input=stdin)


def shown(result: Result) -> str:
    return result.stdout + result.stderr


def values(home: Path) -> list[str]:
    """Every value that the file and the one before it hold, and each line of those that have several."""
    store = SecretStore(home / "inventories/node.yaml")
    found = []
    for path in (store.path, store.file.old):
        document = store.file.read(path)
        for name in document.names:
            if not name.endswith(("_access_key", "_root_user")):  # names of keys; shown in plans too
                found += [line for line in document.get(name).splitlines() if len(line) > 15 and "-----" not in line]
    assert len(found) > 25
    return found


def test_no_command_shows_a_value(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ssh = private_key(), public_key(private_key())
    said = {
        "init": run("init", "node"),
        "init again": run("init", "node", "-o", "json"),
        "set": run("set", "node", "tokens.hcloud", stdin=f"{GIVEN}\n"),
        "set again": run("set", "node", "tokens.hcloud", stdin=GIVEN),
        "set hex": run("set", "node", "build_token_secret", stdin="ab" * 40),
        "show": run("show", "node", "--names"),
        "show json": run("show", "node", "--names", "-o", "json"),
        "show yaml": run("show", "node", "--names", "-o", "yaml"),
        "show without names": run("show", "node"),
        "rotate": run("rotate", "node"),
        "rotate json": run("rotate", "node", "-o", "json"),
        "rotate refused": run("rotate", "node", "k3s_token", "build_token_secret"),
        "rotate new machine": run("rotate", "node", "host_key", "--new-machine", "--yes", "node"),
        "set refused": run("set", "node", "proxy_token", stdin=GIVEN),
        "set malformed": run("set", "node", "tokens.hcloud", stdin=f"{GIVEN} {GIVEN}"),
        "recipients add": run("recipients", "node", "--add", ssh, "-o", "yaml"),
        "recipients": run("recipients", "node"),
        "recipients json": run("recipients", "node", "-o", "json"),
        "recipients wrong": run("recipients", "node", "--add", (home / "identity.txt").read_text().splitlines()[-1]),
    }
    monkeypatch.setenv("BINDER_NODE_DEBUG", "1")
    for name, result in (
        ("traceback of set", run("set", "node", "proxy_token", stdin=GIVEN)),
        ("traceback of rotate", run("rotate", "node", "k3s_token")),
    ):
        assert result.exception is not None
        import traceback

        said[name] = result
        text = "".join(traceback.format_exception(result.exception))
        assert GIVEN not in text
    good = {name for name, result in said.items() if result.exit_code == 0}
    assert {name for name in said if name.split()[-1] in ("refused", "malformed", "wrong") or "without" in name} == {
        name for name in said if name not in good and not name.startswith("traceback")
    }
    hidden = [*values(home), GIVEN, (home / "identity.txt").read_text().splitlines()[-1]]
    leaked = [(name, value[:4]) for name, result in said.items() for value in hidden if value in shown(result)]
    assert leaked == []
    assert all(shown(result).strip() for name, result in said.items() if not name.startswith("traceback"))


def test_init_says_what_to_back_up(home: Path) -> None:
    result = run("init", "node", "-o", "json")
    said = json.loads(result.stdout)
    assert said["back_up"] == [str(home / "identity.txt")]
    assert (said["identity_made"], said["file_made"], said["recipients"]) == (True, True, 1)
    assert said["file"] == str(home / "secrets/node.age")
    assert said["public"][0].startswith("age1")
    again = run("init", "node")
    assert "identity.txt (was there): back it up, never commit it" in again.stderr
    assert "may be committed" in again.stderr


def test_names_as_a_document(home: Path) -> None:
    run("init", "node")
    said = json.loads(run("show", "node", "--names", "-o", "json").stdout)
    assert (said["encrypted_for"], said["file"]) == (1, str(home / "secrets/node.age"))
    first = said["secrets"][0]
    assert set(first) == {"name", "kind", "purpose", "created", "changed", "origin", "used"}
    assert YAML(typ="safe").load(run("show", "node", "--names", "-o", "yaml").stdout) == said


def test_rotating_asks_nothing_and_says_what_up_does(home: Path) -> None:
    run("init", "node")
    result = run("rotate", "node", "proxy_token", "-o", "json")
    said = json.loads(result.stdout)
    assert [one["name"] for one in said["rotated"]] == ["proxy_token"]
    assert said["rotated"][0]["restarts"] == ["hub", "proxy"]
    assert said["before"] == str(home / "secrets/node.age.old")
    result = run("rotate", "node")
    assert result.exit_code == 0
    assert "left: k3s_token: K3s does not start with another one" in result.stderr
    assert "next: binder-node plan node, then binder-node up node" in result.stderr


def test_a_new_machine_is_confirmed(home: Path) -> None:
    run("init", "node")
    result = run("rotate", "node", "k3s_token")
    assert (result.exit_code, "say --new-machine" in shown(result)) == (2, True)
    result = run("rotate", "node", "host_key")  # there is no machine to give it to
    assert (result.exit_code, "run `binder-node up node`" in shown(result)) == (1, True)
    result = run("rotate", "node", "host_key", "proxy_token")
    assert (result.exit_code, "proxy_token: is not changed together with ssh keys" in shown(result)) == (2, True)
    before = (home / "secrets/node.age").read_bytes()
    result = run("rotate", "node", "host_key", "--new-machine")
    assert (result.exit_code, "say --yes node" in shown(result)) == (2, True)
    assert run("rotate", "node", "host_key", "--new-machine", "--yes", "other").exit_code == 2
    assert (home / "secrets/node.age").read_bytes() == before
    assert run("rotate", "node", "host_key", "--new-machine", "--yes", "node").exit_code == 0


def test_a_value_comes_from_a_file_or_stdin_and_never_from_an_argument(home: Path) -> None:
    (home / "token").write_text(f"{GIVEN}\n")
    assert run("set", "node", "tokens.hcloud", "--from", "token").exit_code == 0
    store = SecretStore(home / "inventories/node.yaml")
    assert store.load().tokens["hcloud"].reveal() == GIVEN
    assert run("set", "node", "tokens.hcloud", GIVEN).exit_code == 2
    missing = run("set", "node", "tokens.hcloud", "--from", "nowhere")
    assert (missing.exit_code, "nowhere: tokens.hcloud: cannot be read: No such file" in missing.stderr) == (2, True)
    assert run("set", "node", "tokens.hcloud", stdin="").exit_code == 2
    assert run("set", "node", "tokens.hcloud", "--remove").exit_code == 0
    assert store.load().tokens == {}


def test_without_secrets_one_line_says_how_to_make_them(home: Path) -> None:
    for arguments in (("show", "node", "--names"), ("rotate", "node"), ("recipients", "node")):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "`binder-node secrets init node` or `binder-node up node` makes them" in result.stderr
    assert not (home / "identity.txt").exists()
