"""Who can read the secrets: lists in age's form, ssh keys, and nobody locked out or let in by accident."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pyrage import x25519

from binder_node.errors import InputError, StepError
from binder_node.secrets import operations
from binder_node.secrets.generate import private_key, public_key
from binder_node.secrets.identity import read_identities
from binder_node.secrets.recipients import Recipient, added, parsed, recipient, stanzas, without
from binder_node.secrets.store import SecretStore
from tests.unit.test_secrets_store import INVENTORY

AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def ssh_pair() -> tuple[str, str]:
    private = private_key()
    return private, public_key(private)


def rsa_pair(form: PrivateFormat = PrivateFormat.OpenSSH) -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


class TestList:
    def test_lines_comments_and_what_stands_beside_a_key(self) -> None:
        _, public = ssh_pair()
        found = parsed(f"# Ada\n\n  {AGE}\n{public} grace@cobol\n", "recipients")
        assert [(one.recipient.key, one.recipient.kind, one.comment) for one in found] == [
            (AGE, "age", ""),
            (public, "ssh-ed25519", "grace@cobol"),
        ]

    def test_every_wrong_line_at_once_and_no_private_key_shown(self) -> None:
        own = str(x25519.Identity.generate())
        lines = [AGE, AGE[:-1] + "q", own, "ssh-dss AAAA x", "ecdsa-sha2-nistp256 AAAA", f"{AGE} ada",
                 "age1yubikey1qqq", "ssh-ed25519 nonsense", "hello"]  # fmt: skip
        with pytest.raises(InputError) as caught:
            parsed("\n".join(lines), "secrets/recipients")
        shown = str(caught.value).splitlines()
        assert [line.split(";")[0] for line in shown] == [
            "secrets/recipients:2: is no age key (mistyped, or of a plugin, which is not known here)",
            "secrets/recipients:3: is a private key",
            "secrets/recipients:4: age encrypts to no ssh-dss key",
            "secrets/recipients:5: age encrypts to no ecdsa-sha2-nistp256 key",
            "secrets/recipients:6: has more than a key on its line",
            "secrets/recipients:7: is no age key (mistyped, or of a plugin, which is not known here)",
            "secrets/recipients:8: is no public key",
            "secrets/recipients:9: is no public key",
        ]
        assert own not in str(caught.value)

    def test_adding_and_removing_keeps_everything_else(self) -> None:
        _, public = ssh_pair()
        text = added("# mine\n" + AGE, [f"{public} ada"])
        assert text == f"# mine\n{AGE}\n{public} ada\n"
        assert without(text, recipient(public)) == f"# mine\n{AGE}\n"
        assert without(text, Recipient(AGE)) == f"# mine\n{public} ada\n"
        assert parsed(added("", [AGE]), "x")[0].recipient == Recipient(AGE)

    @pytest.mark.parametrize("armored", [True, False])
    def test_the_header_tells_how_many(self, armored: bool) -> None:
        keys = [
            x25519.Identity.generate().to_public(),
            recipient(ssh_pair()[1]).loaded(),
            recipient(rsa_pair()[1]).loaded(),
        ]
        sealed = pyrage.encrypt(b"-> X25519 not a stanza", keys, armored=armored)
        assert sorted(stanzas(sealed)) == ["X25519", "ssh-ed25519", "ssh-rsa"]
        assert list(stanzas(b"no age file")) == []


class TestIdentity:
    def file(self, folder: Path, text: str) -> Path:
        path = folder / "identity"
        path.write_text(text)
        path.chmod(0o600)
        return path

    @pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.TraditionalOpenSSL])
    def test_ssh_keys(self, tmp_path: Path, form: PrivateFormat) -> None:
        pairs = [ssh_pair()] if form is PrivateFormat.OpenSSH else []
        for private, public in [*pairs, rsa_pair(form)]:
            (found,) = read_identities(self.file(tmp_path, private))
            assert found.public == Recipient(public)
            assert pyrage.decrypt(pyrage.encrypt(b"x", [found.public.loaded()]), [found.key]) == b"x"

    def test_a_passphrase_is_said_and_what_to_do(self, tmp_path: Path) -> None:
        key = rsa.generate_private_key(65537, 2048)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"hunter2")).decode()
        with pytest.raises(StepError) as caught:
            read_identities(self.file(tmp_path, private))
        assert caught.value.reason == "the ssh key has a passphrase, and nobody can be asked for it here"
        assert "ssh-keygen -p -N '' -f COPY" in caught.value.remedy
        assert "BINDER_NODE_IDENTITY" in caught.value.remedy

    def test_a_kind_that_age_cannot_use(self, tmp_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        with pytest.raises(StepError, match="age can use no ssh key of this kind -> point BINDER_NODE_IDENTITY"):
            read_identities(self.file(tmp_path, private))

    @pytest.mark.parametrize("text", ["-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"])
    def test_a_broken_one(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(StepError, match="it is no private key that can be read"):
            read_identities(self.file(tmp_path, text))

    def test_one_that_is_encrypted_itself(self, tmp_path: Path) -> None:
        sealed = pyrage.passphrase.encrypt(str(x25519.Identity.generate()).encode(), "hunter2", armored=True).decode()
        with pytest.raises(StepError, match="it is encrypted itself"):
            read_identities(self.file(tmp_path, sealed))


class Team:
    """A project with one inventory, and people with identities of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventories/node.yaml"
        self.inventory.parent.mkdir()
        self.inventory.write_text(INVENTORY)
        self.shared = folder / "secrets/recipients"

    def person(self, name: str, private: str = "") -> tuple[SecretStore, str]:
        """Their store, and their public key."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            path.write_text(private or f"{x25519.Identity.generate()}\n")
            path.chmod(0o600)
        environ: Mapping[str, str] = {"BINDER_NODE_IDENTITY": str(path)}
        return SecretStore(self.inventory, environ=environ), read_identities(path)[0].public.key


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def can_read(store: SecretStore) -> bool:
    try:
        return bool(store.load().k3s_token.reveal())
    except StepError:
        return False


class TestTeam:
    def test_one_more_and_one_less(self, team: Team) -> None:
        ada, ada_key = team.person("ada")
        grace, grace_key = team.person("grace", ssh_pair()[0])
        secrets, _ = ada.ensure()
        with pytest.raises(StepError, match="have somebody who can read it add your key"):
            grace.load()
        found = operations.apply_lists(ada, add=[f"{grace_key} grace@cobol"])
        assert (found.added, found.removed, found.encrypted_for, found.agrees) == ((grace_key,), (), 2, True)
        assert grace.load() == secrets
        # Ada is in the list too: whoever writes the file next keeps her in.
        assert [one.recipient.key for one in parsed(team.shared.read_text(), "x")] == [ada_key, grace_key]
        operations.rotate(grace, ["proxy_token"])
        assert can_read(ada)
        found = operations.apply_lists(ada, remove=[grace_key])
        assert (found.removed, found.encrypted_for) == ((grace_key,), 1)
        assert not can_read(grace)
        with pytest.raises(StepError):
            grace.file.read(grace.file.old)
        assert ada.file.read(ada.file.old).get("proxy_token") == secrets.proxy_token.reveal()

    def test_a_line_slipped_into_the_list_reads_nothing_until_it_is_applied(self, team: Team) -> None:
        ada, _ = team.person("ada")
        eve, eve_key = team.person("eve")
        ada.ensure()
        team.shared.write_text(f"{eve_key}\n")
        operations.rotate(ada, ["proxy_token"])
        operations.put(ada, "tokens.hcloud", "t0ken")
        assert not can_read(eve)
        found = operations.readers(ada)
        assert [(one.key, one.encrypted) for one in found.readers if one.key == eve_key] == [(eve_key, False)]
        assert not found.agrees
        assert operations.apply_lists(ada).added == (eve_key,)
        assert can_read(eve)

    def test_a_first_file_is_for_whom_the_list_names(self, team: Team) -> None:
        ada, ada_key = team.person("ada")
        grace, grace_key = team.person("grace")
        team.shared.parent.mkdir()
        team.shared.write_text(f"{grace_key}\n")
        made = operations.init(ada)
        assert (made.recipients, made.file_made, made.identity_made, made.public) == (2, True, False, (ada_key,))
        assert can_read(grace)

    def test_a_nodes_own_list_is_in_the_shared_ones_place(self, team: Team) -> None:
        ada, ada_key = team.person("ada")
        grace, grace_key = team.person("grace")
        own = team.shared.with_name("node.recipients")
        team.shared.parent.mkdir()
        team.shared.write_text(f"{grace_key}\n")
        own.write_text(f"# sponsor's people only\n{ada_key}\n")
        ada.ensure()
        assert not can_read(grace)
        assert operations.readers(ada).listed_in == own

    def test_other_nodes_of_a_shared_list_are_named(self, team: Team) -> None:
        ada, ada_key = team.person("ada")
        ada.ensure()
        for name in ("east", "west"):
            (team.shared.parent / f"{name}.age").write_bytes(ada.path.read_bytes())
        (team.shared.parent / "west.recipients").write_text(f"{ada_key}\n")
        assert operations.apply_lists(ada, add=[team.person("grace")[1]]).others == ("east",)

    def test_nobody_is_locked_out_by_who_writes_next(self, team: Team) -> None:
        """Encrypted by hand for more than the file itself says."""
        ada, ada_key = team.person("ada")
        _, grace_key = team.person("grace")
        ada.ensure()
        keys = [Recipient(key).loaded() for key in (ada_key, grace_key)]
        content = pyrage.decrypt(ada.path.read_bytes(), [read_identities(ada.identity)[0].key])
        ada.path.write_bytes(pyrage.encrypt(content, keys))
        before = ada.path.read_bytes()
        with pytest.raises(InputError, match="it is encrypted for 2, of whom 1 are known here"):
            operations.rotate(ada, ["proxy_token"])
        assert ada.path.read_bytes() == before
        assert ada.ensure()[1] is False  # nothing to write: nothing to refuse
        operations.apply_lists(ada, add=[grace_key])
        operations.rotate(ada, ["proxy_token"])

    def test_mistakes_change_nothing(self, team: Team) -> None:
        ada, ada_key = team.person("ada")
        _, grace_key = team.person("grace")
        ada.ensure()
        before = ada.path.read_bytes()
        for add, remove, said in (
            (["age1nonsense"], [], "--add: what you gave is no age key"),
            ([str(x25519.Identity.generate())], [], "--add: what you gave is a private key"),
            ([], [grace_key], "is not listed"),
            ([], [ada_key], "is your own key; you could not read it any more"),
        ):
            with pytest.raises(InputError, match=said):
                operations.apply_lists(ada, add=add, remove=remove)
        team.shared.write_text("rubbish\n")
        with pytest.raises(InputError, match=r"recipients:1: is no public key"):
            operations.apply_lists(ada, add=[grace_key])
        assert ada.path.read_bytes() == before

    def test_lists_are_for_everybody_to_read_and_secrets_are_not(self, team: Team) -> None:
        ada, _ = team.person("ada")
        ada.ensure()
        operations.apply_lists(ada, add=[team.person("grace")[1]])
        operations.rotate(ada, [])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in team.shared.parent.iterdir()}
        assert modes == {"recipients": 0o644, "node.age": 0o600, "node.age.old": 0o600}


class TestChanges:
    def test_rotate_changes_what_it_says_and_keeps_the_file_before(self, team: Team) -> None:
        ada, _ = team.person("ada")
        first, _ = ada.ensure()
        done = operations.rotate(ada, [])
        second = ada.load()
        changed = {name for name, value in first if value != getattr(second, name)}
        assert {one.name for one in done.rotated} == changed
        assert {name for name, _ in done.left} == {"host_key", "login_key", "k3s_token"}
        assert ada.file.read(ada.file.old).get("proxy_token") == first.proxy_token.reveal()
        with pytest.raises(InputError, match="k3s_token: is not rotated; K3s does not start with another one"):
            operations.rotate(ada, ["proxy_token", "k3s_token"])
        with pytest.raises(InputError, match="proxy_tokn: there is no such secret"):
            operations.rotate(ada, ["proxy_tokn"])
        assert ada.load() == second

    def test_keys_of_a_new_machine_have_their_public_halves(self, team: Team) -> None:
        ada, _ = team.person("ada")
        first, _ = ada.ensure()
        operations.rotate(ada, ["host_key", "login_key"], new_machine=True)
        second = ada.load()
        assert public_key(second.host_key.reveal()) == second.host_key_public != first.host_key_public
        assert public_key(second.login_key.reveal()) == second.login_key_public != first.login_key_public

    def test_killed_anywhere_there_is_a_whole_file(self, team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
        ada, _ = team.person("ada")
        first, _ = ada.ensure()

        def dies(*_: object) -> None:
            raise KeyboardInterrupt

        for name in ("link", "replace", "fsync"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, dies)
                with pytest.raises(KeyboardInterrupt):
                    operations.rotate(ada, ["proxy_token"])
            assert ada.load() == first
        operations.rotate(ada, ["proxy_token"])
        assert ada.load().proxy_token != first.proxy_token
        assert sorted(path.name for path in ada.path.parent.iterdir()) == ["node.age", "node.age.old"]

    def test_what_is_known_of_each(self, team: Team) -> None:
        ada, _ = team.person("ada")
        ada.ensure()
        operations.put(ada, "tokens.hcloud", " t0ken\n")
        operations.put(ada, "build_token_secret", "ab" * 32)
        shown = {one.name: one for one in operations.names(ada)}
        assert (shown["tokens.hcloud"].kind, shown["tokens.hcloud"].origin) == ("token", "given")
        assert shown["build_token_secret"].origin == "given"
        assert shown["proxy_token"].origin == "made"
        assert all(one.created and one.changed and one.used for one in shown.values())
        assert ada.load().tokens["hcloud"].reveal() == "t0ken"
        with pytest.raises(InputError, match="build_token_secret: is not rotated; it was given to you"):
            operations.rotate(ada, ["build_token_secret"])

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("tokens.hcloud", "two words", "the token for Hetzner Cloud has line breaks"),
            ("tokens.hcloud", "", "is empty"),
            ("tokens.UP", "x", "is made here, and nobody gives it a value"),
            ("build_token_secret", "hunter2" * 20, "is not 64 hexadecimal digits"),
            ("s3_secret_key", "x" * 40, "nobody gives it a value"),  # of a bucket on the node
            ("proxy_token", "x" * 40, "what can be given here: build_token_secret, tokens.hcloud"),
        ],
    )
    def test_what_cannot_be_given(self, team: Team, name: str, value: str, said: str) -> None:
        ada, _ = team.person("ada")
        ada.ensure()
        before = ada.path.read_bytes()
        with pytest.raises(InputError, match=said) as caught:
            operations.put(ada, name, value)
        assert not value or value not in str(caught.value)
        assert ada.path.read_bytes() == before

    def test_s3_keys_can_be_given_before_the_first_up(self, team: Team) -> None:
        text = INVENTORY.replace("{kind: node}", "{kind: s3, endpoint: 'https://s3.example.org', bucket: images}")
        team.inventory.write_text(text)
        ada, _ = team.person("ada")
        assert operations.init(ada).missing == ("s3_access_key", "s3_secret_key")
        with pytest.raises(
            InputError, match=r"s3_access_key: is missing; `binder-node secrets set node s3_access_key`"
        ):
            ada.load()
        assert operations.put(ada, "s3_access_key", "access") is True
        assert operations.put(ada, "s3_secret_key", "secret") is True
        assert operations.put(ada, "s3_secret_key", "secret") is False
        secrets, changed = ada.ensure()
        assert (secrets.s3_access_key, secrets.s3_secret_key.reveal(), changed) == ("access", "secret", False)
        with pytest.raises(InputError, match="the bucket's provider makes it"):
            operations.rotate(ada, ["s3_secret_key"])
        assert {"s3_access_key", "minio_root_user"} <= {name for name, _ in operations.rotate(ada, []).left}

    def test_a_token_is_forgotten(self, team: Team) -> None:
        ada, _ = team.person("ada")
        operations.put(ada, "tokens.hcloud", "t0ken")
        assert can_read(ada)  # the file was made whole
        operations.drop(ada, "tokens.hcloud")
        assert ada.load().tokens == {}
        with pytest.raises(InputError, match="is no token that is kept; tokens: there are none"):
            operations.drop(ada, "tokens.hcloud")
        with pytest.raises(InputError):
            operations.drop(ada, "proxy_token")

    def test_a_file_of_an_older_version(self, team: Team) -> None:
        ada, ada_key = team.person("ada")
        ada.ensure()
        held = dict(ada.document().values)
        ada.path.write_bytes(pyrage.encrypt(json.dumps(held).encode(), [Recipient(ada_key).loaded()]))
        (shown,) = [one for one in operations.names(ada) if one.name == "proxy_token"]
        assert (shown.created, shown.changed) == ("", "")
        operations.rotate(ada, ["proxy_token"])
        (shown,) = [one for one in operations.names(ada) if one.name == "proxy_token"]
        assert shown.created == ""
        assert shown.changed
