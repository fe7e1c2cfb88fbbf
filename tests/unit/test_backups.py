"""Backups by name and age, where they lie and with whose key; what of one may be put back on which machine."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest

from binder_node.artifacts.pins import load_pins
from binder_node.errors import DeadlineError, InputError, StepError
from binder_node.events import Event, silent
from binder_node.host import restore
from binder_node.host.backup import configuration
from binder_node.host.observe import Seen
from binder_node.host.operations import RESTORE, UNITS, operations
from binder_node.host.restore import Restore
from binder_node.lifecycle import backups as verbs
from binder_node.lifecycle.opened import Opened
from binder_node.node import Node
from binder_node.secrets.document import with_values
from binder_node.secrets.identity import ensure_identities, read_identities
from binder_node.secrets.masked import Masked
from binder_node.secrets.store import SecretStore, given_keys, nobodys, utc_now
from binder_node.spec.model import Spec
from binder_node.storage import backups
from binder_node.storage.backups import Backup, BackupStage, backup_of, own_key, prefix
from binder_node.storage.backups import Seen as There
from tests.unit.host_samples import central_spec, other_spec, sample_secrets, sample_spec

ELSEWHERE = {"endpoint": "https://s3.example.org", "region": "eu-2", "bucket": "bids-backup"}
OWN = sample_secrets().model_copy(update={"backup_access_key": "WRITES", "backup_secret_key": Masked("hidden")})
HUB = "/var/lib/binder-node/hub/jupyterhub.sqlite"
STATE_DB = "/var/lib/binder-node/rancher/k3s/server/db/state.db"
NAME = "20261121T193000Z-0123456789abcdef.age"
BACK = Restore(NAME, "2026-11-21T19:30:00+00:00", Path("/nowhere"), {"hub/jupyterhub.sqlite": 2_000_000})


# --- where ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "endpoint", "bucket", "key"),
    [
        (sample_spec(), "http://127.0.0.1:9000", "registry", "WRITES"),
        (other_spec(), "https://s3.example.net", "bids-registry", "public-s3_access_key"),
        (sample_spec(backup=ELSEWHERE), "https://s3.example.org", "bids-backup", "WRITES"),
        (central_spec(), "https://s3.example.net", "bids-registry", "public-s3_access_key"),
    ],
    ids=["own", "registry's", "another", "central"],
)
def test_the_node_writes_where_the_inventory_says(spec: Spec, endpoint: str, bucket: str, key: str) -> None:
    made = configuration(spec, OWN, "/usr/local/bin/age")
    assert (made["endpoint"], made["bucket"], made["access_key"]) == (endpoint, bucket, key)
    assert made["prefix"] == prefix(spec) == f"binder-node-backup/{spec.name}/"


def test_a_central_deploys_node_has_no_hub_of_ours() -> None:
    made = configuration(central_spec(), OWN, "age")
    assert list(made["databases"]) == ["k3s/db/state.db"]  # type: ignore[call-overload]
    assert "hub/" not in restore.places(central_spec())
    assert restore.databases(central_spec()) == [STATE_DB]


@pytest.mark.parametrize(
    ("spec", "given", "none"),
    [
        (sample_spec(), [], []),
        (other_spec(), ["s3_access_key", "s3_secret_key"], ["backup_access_key", "backup_secret_key"]),
        (sample_spec(backup=ELSEWHERE), ["backup_access_key", "backup_secret_key"], []),
    ],
)
def test_keys_that_others_make(spec: Spec, given: list[str], none: list[str]) -> None:
    assert (list(given_keys(spec)), nobodys(spec)) == (given, none)


def test_names_tell_when() -> None:
    found = backup_of(NAME, 7)
    assert found == Backup(datetime(2026, 11, 21, 19, 30, tzinfo=UTC), NAME, 7)
    assert [backup_of(name, 7) for name in ("", "x.age", f"{NAME}.part", f"a/{NAME}", "20261321T000000Z-a.age")] == [
        None
    ] * 5


@pytest.mark.parametrize(
    ("spec", "seen", "wanted"),
    [
        (sample_spec(), There(), []),
        (
            sample_spec(),
            BackupStage(Node(sample_spec(), OWN, {}, {}, Path("/nowhere")), None).nothing(),
            ["key WRITES, which only writes below binder-node-backup/bids-1/", "keep backups for 30 days"],
        ),
        (sample_spec(backup=ELSEWHERE), There("ok", False, False), ["bucket bids-backup, for backups", "keep backups"]),
        (sample_spec(backup=ELSEWHERE), There("stale"), ["use bucket bids-backup, which refuses the key for backups"]),
        (other_spec(), There("ok", True, False), ["keep backups for 30 days"]),
    ],
)
def test_what_the_stage_would_do(spec: Spec, seen: There, wanted: list[str]) -> None:
    stage = BackupStage(Node(spec, OWN, {}, {}, Path("/nowhere")), None)
    said = [change.what for change in stage.changes(seen)]
    assert len(said) == len(wanted)
    assert all(text.startswith(start) for text, start in zip(said, wanted, strict=True))
    assert "hidden" not in str(stage.changes(seen))


def test_a_place_of_their_own_that_is_down_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> There:
        raise DeadlineError("bids-1", "an answer", 20, "refused")

    monkeypatch.setattr(backups, "look", down)
    told: list[Event] = []
    stage = BackupStage(Node(sample_spec(backup=ELSEWHERE), OWN, {}, {}, Path("/nowhere")), None)
    seen = stage.inspect(told.append)
    assert (stage.changes(seen), seen.looked) == ([], False)
    assert ["could not be looked at" in event.message for event in told] == [True]
    with pytest.raises(DeadlineError):
        BackupStage(Node(other_spec(), OWN, {}, {}, Path("/nowhere")), None).inspect(told.append)


def test_own_keys_are_on_own_servers() -> None:
    assert [own_key(spec) for spec in (sample_spec(), other_spec(), sample_spec(backup=ELSEWHERE))] == [
        True,
        False,
        False,
    ]


# --- putting back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "marked", "back", "why", "wanted"),
    [
        ((), "", BACK, "", True),
        ((HUB,), "", BACK, f"it is no bare machine, it has {HUB}", True),
        ((HUB, STATE_DB), "", BACK, f"it is no bare machine, it has {HUB} and {STATE_DB}", True),
        ((HUB,), "placing", BACK, "", True),
        ((HUB, STATE_DB), "placed", BACK, "", True),
        ((HUB, STATE_DB), "done", BACK, "", False),
        ((HUB, STATE_DB), "done", None, "", False),
        ((HUB,), "placing", None, f"backup {NAME} was put back half-way", False),
        ((HUB, STATE_DB), "placed", None, "", False),
    ],
)
def test_which_machine_gets_one(
    there: tuple[str, ...], marked: str, back: Restore | None, why: str, wanted: bool
) -> None:
    paths: dict[str, dict[str, Any] | None] = {path: {"kind": "file"} for path in there}
    seen = Seen(exists=True, paths=paths, restored={"name": NAME, "state": marked} if marked else {})
    assert restore.hindrance(sample_spec(), seen, back) == why
    assert restore.wanted(back, seen) is wanted


@pytest.mark.parametrize(
    ("marked", "back", "first"),
    [
        ("", BACK, f"put back backup {BACK.describe()}"),
        ("placed", BACK, f"put back backup {BACK.describe()}"),
        ("placed", None, "forget the pods of the machine before"),
        ("done", None, None),
        ("done", BACK, None),
    ],
)
def test_any_up_ends_what_was_cut_off_after_it_was_put_back(
    marked: str, back: Restore | None, first: str | None
) -> None:
    from binder_node.host.stage import HostStage
    from tests.unit.host_samples import ADDRESS, ENGINE, MANIFESTS, sample_artifacts, sample_secrets

    node = Node(sample_spec(), sample_secrets(), sample_artifacts(), {}, Path("/nowhere"))
    stage = HostStage(node, None, ADDRESS, MANIFESTS, ENGINE, back)
    seen = Seen(exists=True, restored={"name": NAME, "state": marked} if marked else {})
    runs = [change.what for change in stage.changes(seen) if change.action == "run"]
    assert runs == ([first] if first else [])


def test_it_is_put_back_after_the_files_and_before_the_units() -> None:
    from binder_node.host.diff import todo
    from tests.unit.host_samples import sample_wanted

    wanted = sample_wanted()
    asked = operations(wanted, todo(wanted, Seen()), restore.question(sample_spec(), BACK))
    names = [operation["name"] for operation in asked]
    assert names.index("backup: files") < names.index(RESTORE) < names.index(UNITS)
    assert RESTORE not in [operation["name"] for operation in operations(wanted, todo(wanted, Seen()))]


def test_parts_go_below_this_machines_state_folder() -> None:
    assert restore.places(sample_spec(machine={"state": "/data/node"})) == {
        "hub/": "/data/node/hub/",
        "acme/": "/data/node/acme/",
        "k3s/": "/data/node/rancher/k3s/server/",
        "node/": "/etc/rancher/node/",
    }


# --- choosing and reading one --------------------------------------------------------------------------------------


def stamped(hour: int) -> Backup:
    return Backup(datetime(2026, 11, 21, hour, tzinfo=UTC), f"20261121T{hour:02}0000Z-a.age", 7)


def test_the_newest_or_the_one_that_is_named() -> None:
    found = [stamped(hour) for hour in (1, 2, 3)]
    assert verbs.chosen_of(found, "", sample_spec()) == found[2]
    assert verbs.chosen_of(found, found[0].name, sample_spec()) == found[0]
    with pytest.raises(InputError, match=f"'other' is neither a file nor a backup; one of {found[0].name}, "):
        verbs.chosen_of(found, "other", sample_spec())
    with pytest.raises(InputError, match="there is no backup of bids-1"):
        verbs.chosen_of([], "", sample_spec())


def archive(folder: Path, about: Mapping[str, Any] | None, content: bytes = b"") -> Path:
    path = folder / "archive.tar.gz"
    if about is None:
        path.write_bytes(content)
        return path
    with tarfile.open(path, "w:gz") as tar:
        text = json.dumps(about).encode()
        head = tarfile.TarInfo("about.json")
        head.size = len(text)
        tar.addfile(head, io.BytesIO(text))
    return path


PINNED = "v1.35.8+k3s1"
K3S = {"k3s": "k3s version v1.35.4+k3s1 (0a1b2c)"}
ABOUT = {
    "versions": K3S,
    "format": 1,
    "node": "bids-1",
    "taken": "2026-11-21T19:30:00+00:00",
    "files": {"k3s/token": 5},
}


def test_a_backup_says_what_it_is(tmp_path: Path) -> None:
    found = verbs._told(archive(tmp_path, ABOUT), "x.age", sample_spec(), PINNED)
    assert found.describe() == "x.age, taken 2026-11-21 19:30 UTC (0.0 MB)"


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({**ABOUT, "node": "other"}, "the backup is of other, this is bids-1"),
        ({**ABOUT, "versions": {"k3s": "k3s version v1.36.0+k3s1 (0)"}}, "which v1.35.8.k3s1 may not understand"),
        ({**ABOUT, "format": 2}, "its form is 2, newer than known"),
        ({"format": 1}, "it is none of binder-node's"),
        ({**ABOUT, "taken": "yesterday"}, "it is none of binder-node's"),
        (None, "it is none of binder-node's"),
    ],
)
def test_what_is_no_backup_of_this_node_is_refused(about: dict[str, Any] | None, said: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, StepError), match=said):
        verbs._told(archive(tmp_path, about, b"no archive"), "x.age", sample_spec(), PINNED)


def test_a_bucket_that_went_with_the_machine_is_not_asked() -> None:
    with pytest.raises(InputError, match="the bucket is on the machine itself"):
        verbs._refuse_gone(sample_spec())
    verbs._refuse_gone(other_spec())


def test_none_are_made_where_the_inventory_says_so(tmp_path: Path) -> None:
    opened = Opened(tmp_path / "bids-1.yaml", sample_spec(backup={"hours": 0}), load_pins(), tmp_path)
    with pytest.raises(InputError, match=r"backup\.hours: 0: there are none"):
        verbs._refuse_none(opened)


# --- secrets that come with one ------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A node's inventory and secrets on this computer, and a backup of it, ``bids-1.age``."""
    monkeypatch.setenv("BINDER_NODE_IDENTITY", str(tmp_path / "identity.txt"))
    monkeypatch.setenv("BINDER_NODE_SECRETS_DIR", str(tmp_path / "secrets"))
    opened = Opened(tmp_path / "inventories/bids-1.yaml", sample_spec(), load_pins(), tmp_path / "run")
    store = SecretStore(opened.inventory, opened.spec)
    store.ensure()
    clear = tmp_path / "clear.tar.gz"
    with tarfile.open(clear, "w:gz") as tar:
        for name, content in (("about.json", json.dumps(ABOUT).encode()), ("secrets.age", store.sealing().file)):
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    recipients = [identity.public.loaded() for identity in read_identities(store.identity)]
    (tmp_path / "bids-1.age").write_bytes(pyrage.encrypt(clear.read_bytes(), recipients))
    return opened


def backup_at(place: Opened) -> str:
    return str(place.runtime.parent / "bids-1.age")


def test_in_clear_it_lies_here_for_the_block_alone(place: Opened) -> None:
    with verbs.restored(place, backup_at(place), silent) as found:
        assert found.name == "bids-1.age"
        assert found.archive.stat().st_mode & 0o777 == 0o600
        assert tarfile.is_tarfile(found.archive)
    assert list(place.runtime.iterdir()) == []


def test_secrets_that_are_not_here_are_its_own(place: Opened) -> None:
    file = SecretStore(place.inventory, place.spec).path
    before = file.read_bytes()
    file.unlink()
    told: list[Event] = []
    with verbs.restored(place, backup_at(place), told.append):
        assert file.read_bytes() == before
    assert [event.message for event in told] == [f"{file}: the node's secrets, from its backup"]


def test_another_token_of_k3s_is_said_before_anything_is_done(place: Opened) -> None:
    store = SecretStore(place.inventory, place.spec)
    store.change(lambda old: with_values(old, {"k3s_token": "another"}, utc_now()))
    with (
        pytest.raises(InputError, match=r"k3s_token: is another one than when the backup was made; move .* away"),
        verbs.restored(place, backup_at(place), silent),
    ):
        pass


def test_another_identity_opens_nothing(place: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    other = place.runtime.parent / "other.txt"
    ensure_identities(other)
    monkeypatch.setenv("BINDER_NODE_IDENTITY", str(other))
    with (
        pytest.raises(StepError, match=r"decrypt the backup bids-1\.age: .*identity .*other\.txt"),
        verbs.restored(place, backup_at(place), silent),
    ):
        pass
