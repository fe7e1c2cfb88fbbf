"""``secrets/NODE.age``: made once, kept encrypted, never lost, and clear about what is wrong with it."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest

from binder_node.errors import InputError, StepError
from binder_node.secrets import generate as made
from binder_node.secrets.identity import ensure_identities, identity_path, read_identities
from binder_node.secrets.masked import REVEAL, Masked
from binder_node.secrets.model import Secrets
from binder_node.secrets.store import SecretStore

INVENTORY = """\
name: node
provider: {kind: local}
machine: {cpus: 8, memory: 64G, disk: 400G}
names: {binder: node.example.org}
tls: {mode: none}
storage: {kind: node}
"""
S3 = INVENTORY.replace("{kind: node}", "{kind: s3, endpoint: 'https://s3.example.org', bucket: images}")


class Place:
    """A project's folder with one inventory, and an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventories/node.yaml"
        self.file = folder / "secrets/node.age"
        self.identity = folder / "config/identity.txt"
        self.environ = {"BINDER_NODE_IDENTITY": str(self.identity)}
        self.inventory.parent.mkdir()
        self.inventory.write_text(INVENTORY)

    def store(self, **environ: str) -> SecretStore:
        return SecretStore(self.inventory, environ={**self.environ, **environ})

    def values(self) -> dict[str, Any]:
        """What is in the file."""
        keys = [identity.key for identity in read_identities(self.identity)]
        found: dict[str, Any] = json.loads(pyrage.decrypt(self.file.read_bytes(), keys))
        return found

    def put(self, values: object) -> None:
        recipients = [identity.public.loaded() for identity in ensure_identities(self.identity)]
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_bytes(pyrage.encrypt(json.dumps(values).encode(), recipients))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestGenerate:
    def test_every_secret_is_new_each_time(self) -> None:
        first, second = made.generate(), made.generate()
        assert [name for name in Secrets.model_fields if getattr(first, name) == getattr(second, name)] == ["tokens"]

    def test_forms(self) -> None:
        secrets = made.generate()
        tokens = ("hub_cookie_secret", "hub_crypt_key", "proxy_token", "binder_api_token", "build_token_secret")
        for name in tokens:
            assert len(bytes.fromhex(getattr(secrets, name).reveal())) == 32
        assert len(secrets.s3_access_key) == 20
        assert len(secrets.s3_secret_key.reveal()) == 40
        for key, public in (
            (secrets.host_key, secrets.host_key_public),
            (secrets.login_key, secrets.login_key_public),
        ):
            assert key.reveal().startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
            assert made.public_key(key.reveal()) == public
            assert public.startswith("ssh-ed25519 AAAA")

    def test_a_public_key_follows_its_private_one(self) -> None:
        old = made.generate().model_dump(context=REVEAL)
        given = {name: value for name, value in old.items() if name not in ("host_key_public", "login_key")}
        new = made.complete(given)
        assert new["host_key_public"] == old["host_key_public"]
        assert new["login_key_public"] != old["login_key_public"]
        assert new["login_key_public"] == made.public_key(new["login_key"])


class TestStore:
    def test_made_once(self, place: Place) -> None:
        secrets, changed = place.store().ensure()
        assert changed
        content = place.file.read_bytes()
        again, changed = place.store().ensure()
        assert (again, changed) == (secrets, False)
        assert place.store().load() == secrets
        assert place.store().preview() == secrets
        assert place.file.read_bytes() == content

    def test_private_and_alone(self, place: Place) -> None:
        place.store().ensure()
        assert (mode(place.file), mode(place.file.parent), mode(place.identity)) == (0o600, 0o700, 0o600)
        assert [path.name for path in place.file.parent.iterdir()] == ["node.age"]
        assert [path.name for path in place.identity.parent.iterdir()] == ["identity.txt"]

    def test_the_file_is_encrypted(self, place: Place) -> None:
        secrets, _ = place.store().ensure()
        content = place.file.read_text()
        assert content.startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
        shown = [value for _, value in secrets if isinstance(value, str)]
        assert not [value for value in shown if value in content]

    def test_the_folder_can_be_elsewhere(self, place: Place, tmp_path: Path) -> None:
        store = place.store(BINDER_NODE_SECRETS_DIR=str(tmp_path / "vault"))
        store.ensure()
        assert store.path == tmp_path / "vault/node.age"
        assert store.path.is_file()
        assert not place.file.exists()

    def test_a_preview_writes_nothing(self, place: Place, tmp_path: Path) -> None:
        before = sorted(tmp_path.rglob("*"))
        assert place.store().preview().proxy_token.reveal()
        assert sorted(tmp_path.rglob("*")) == before

    def test_secrets_of_an_older_version_are_kept_and_completed(self, place: Place) -> None:
        secrets, _ = place.store().ensure()
        old = place.values()
        del old["registry_http_secret"], old["hub_crypt_key"]
        place.put(old)
        with pytest.raises(InputError) as caught:
            place.store().load()
        assert [problem.path for problem in caught.value.problems] == ["hub_crypt_key", "registry_http_secret"]
        new, changed = place.store().ensure()
        assert changed
        changes = {name for name in Secrets.model_fields if getattr(new, name) != getattr(secrets, name)}
        assert changes == {"registry_http_secret", "hub_crypt_key"}
        assert place.store().ensure() == (new, False)

    def test_secrets_of_a_newer_version_are_refused_and_kept(self, place: Place) -> None:
        place.store().ensure()
        place.put({**place.values(), "later_token": "hunter2", "also": "hunter2"})
        content = place.file.read_bytes()
        for call in (place.store().load, place.store().ensure, place.store().preview):
            with pytest.raises(InputError) as caught:
                call()
            assert str(caught.value).splitlines() == [
                f"{place.file}: {name}: is unknown to this version; "
                "update binder-node, or remove the field with the age tool"
                for name in ("also", "later_token")
            ]
        assert place.file.read_bytes() == content

    @pytest.mark.parametrize(("name", "value"), [("k3s_token", 5), ("host_key", "hunter2"), ("proxy_token", "")])
    def test_a_value_that_is_none(self, place: Place, name: str, value: object) -> None:
        place.store().ensure()
        place.put({**place.values(), name: value})
        with pytest.raises(InputError) as caught:
            place.store().ensure()
        assert [problem.path for problem in caught.value.problems] == [name]
        assert "hunter2" not in str(caught.value)

    def test_no_secrets_yet(self, place: Place) -> None:
        with pytest.raises(
            InputError, match="there are no secrets yet; `binder-node secrets init node` or `binder-node up"
        ):
            place.store().load()

    def test_processes_agree(self, place: Place) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: place.store().ensure(), range(8)))
        assert len({secrets.proxy_token for secrets, _ in found}) == 1
        assert sum(changed for _, changed in found) == 1

    def test_killed_while_writing_loses_nothing(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        secrets, _ = place.store().ensure()
        old = place.values()
        del old["k3s_token"]
        place.put(old)

        def dies(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dies)
            with pytest.raises(KeyboardInterrupt):
                place.store().ensure()
        assert place.values() == old
        assert [path.name for path in place.file.parent.iterdir()] == ["node.age"]
        assert place.store().ensure()[0].proxy_token == secrets.proxy_token


class TestFailures:
    def test_another_identity(self, place: Place, tmp_path: Path) -> None:
        place.store().ensure()
        content = place.file.read_bytes()
        other = tmp_path / "other.txt"
        ensure_identities(other)
        for call in ("load", "ensure", "preview"):
            with pytest.raises(StepError) as caught:
                getattr(place.store(BINDER_NODE_IDENTITY=str(other)), call)()
            assert caught.value.step == f"decrypt the secrets {place.file}"
            assert "set BINDER_NODE_IDENTITY to an identity that it was encrypted to" in caught.value.remedy
        assert place.file.read_bytes() == content

    def test_a_lost_identity_is_not_made_anew(self, place: Place) -> None:
        place.store().ensure()
        place.identity.unlink()
        with pytest.raises(StepError, match=r"there is no such file -> restore the file from your backup"):
            place.store().ensure()
        assert not place.identity.exists()

    def test_an_identity_that_others_may_read(self, place: Place) -> None:
        place.store().ensure()
        place.identity.chmod(0o644)
        with pytest.raises(StepError, match=r"other users may read it \(mode 0644\) -> chmod 600"):
            place.store().load()

    def test_an_identity_that_is_none(self, place: Place) -> None:
        place.store().ensure()
        place.identity.write_text("AGE-SECRET-KEY-1HUNTER2\n")
        with pytest.raises(StepError, match="it holds no AGE-SECRET-KEY- line that is valid") as caught:
            place.store().load()
        assert "HUNTER2" not in str(caught.value)

    @pytest.mark.parametrize("keep", [0, 10, 500])
    def test_a_file_cut_short(self, place: Place, keep: int) -> None:
        place.store().ensure()
        place.file.write_bytes(place.file.read_bytes()[:keep])
        with pytest.raises(StepError, match="or restore the file from your backup"):
            place.store().ensure()

    @pytest.mark.parametrize("content", ["text", [1], None])
    def test_not_what_we_wrote(self, place: Place, content: object) -> None:
        place.put(content)
        with pytest.raises(StepError, match="it holds no JSON object -> restore the file from your backup"):
            place.store().load()

    def test_a_folder_that_cannot_be_made(self, place: Place) -> None:
        (place.folder / "file").write_text("")
        with pytest.raises(StepError, match="set BINDER_NODE_SECRETS_DIR"):
            place.store(BINDER_NODE_SECRETS_DIR=str(place.folder / "file/secrets")).ensure()


class TestS3Keys:
    def test_both_are_asked_for_by_name(self, place: Place) -> None:
        place.inventory.write_text(S3)
        with pytest.raises(InputError) as caught:
            place.store().ensure()
        assert [problem.right for problem in caught.value.problems] == [
            "set BINDER_NODE_S3_ACCESS_KEY, or keep it: `binder-node secrets set node s3_access_key`",
            "set BINDER_NODE_S3_SECRET_KEY, or keep it: `binder-node secrets set node s3_secret_key`",
        ]
        assert not place.file.exists()

    def test_they_are_kept_after_the_first_time_and_replaced_when_given_anew(self, place: Place) -> None:
        place.inventory.write_text(S3)
        keys = {"BINDER_NODE_S3_ACCESS_KEY": "access", "BINDER_NODE_S3_SECRET_KEY": "secret"}
        first, changed = place.store(**keys).ensure()
        assert (changed, first.s3_access_key, first.s3_secret_key) == (True, "access", Masked("secret"))
        assert place.store().ensure() == (first, False)
        second, changed = place.store(BINDER_NODE_S3_SECRET_KEY="rotated").ensure()
        assert (changed, second.s3_access_key, second.s3_secret_key) == (True, "access", Masked("rotated"))
        assert second.proxy_token == first.proxy_token

    def test_they_are_not_taken_for_a_bucket_on_the_node(self, place: Place) -> None:
        secrets, _ = place.store(BINDER_NODE_S3_ACCESS_KEY="access").ensure()
        assert secrets.s3_access_key != "access"


def test_the_identity_is_in_the_users_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert identity_path({}) == tmp_path / "binder-node/identity.txt"
    assert identity_path({"BINDER_NODE_IDENTITY": "/x/y"}) == Path("/x/y")
