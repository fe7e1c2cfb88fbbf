"""What an `up` will do, from what is wanted and what was seen: no more than that, and nothing twice."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from binder_node.host.diff import Todo, todo
from binder_node.host.observe import Seen, digest, question
from binder_node.host.operations import operations
from binder_node.host.wanted import Wanted
from tests.unit.host_samples import as_made, other_spec, sample_spec, sample_wanted

CONFIG = "/etc/buildkit/buildkitd.toml"


def lines(made: Todo) -> list[str]:
    return [f"{change.action} {change.what}" for change in made.changes]


@pytest.fixture
def wanted() -> Wanted:
    return sample_wanted()


@pytest.fixture
def seen(wanted: Wanted) -> Seen:
    return as_made(wanted)


def test_a_made_machine_needs_nothing(wanted: Wanted, seen: Seen) -> None:
    made = todo(wanted, seen)
    assert lines(made) == []
    assert operations(wanted, made) == []


def test_a_bare_machine_needs_everything_and_no_secret_shows(wanted: Wanted) -> None:
    made = todo(wanted, Seen())
    text = "\n".join(f"{change.what}\n{change.diff}" for change in made.changes)
    assert "secret-" not in text
    assert "create k3s: upload k3s v1 (0 MB)" in lines(made)
    assert "start k3s.service: it is not running" in lines(made)
    assert {work.component for work in made.works} == {component.name for component in wanted.components}


def test_the_question_holds_no_secret(wanted: Wanted) -> None:
    assert "secret-" not in question(wanted, "/var/lib/binder-node")


def test_a_changed_file_is_shown_and_restarts_its_component_alone(wanted: Wanted, seen: Seen) -> None:
    old = b"root = 'elsewhere'\n"
    about = seen.files[CONFIG]
    assert about is not None
    about.update(sha256=digest(old), text=base64.b64encode(old).decode())
    made = todo(wanted, seen)
    assert lines(made) == [f"update buildkit: {CONFIG}", f"restart buildkit.service: {CONFIG} changes"]
    assert made.changes[0].diff.startswith(f"--- {CONFIG}\n+++ {CONFIG}\n")
    assert "-root = 'elsewhere'\n" in made.changes[0].diff
    assert [operation["name"] for operation in operations(wanted, made)] == [
        "buildkit: files",
        "start units",
        "wait until they are up",
    ]


def test_a_changed_secret_file_is_told_but_not_shown(wanted: Wanted, seen: Seen) -> None:
    about = seen.files["/etc/binder-node/minio.env"]
    assert about is not None
    about.update(sha256="0" * 64)
    made = todo(wanted, seen)
    assert made.changes[0].diff == "(secret; it changes)\n"
    assert made.restart == ("minio.service",)


def test_a_file_that_others_may_read_is_closed_again(wanted: Wanted, seen: Seen) -> None:
    about = seen.files["/etc/binder-node/minio.env"]
    assert about is not None
    about.update(mode=0o644)
    (change, _) = todo(wanted, seen).changes
    assert (change.what, change.diff) == ("minio: /etc/binder-node/minio.env", "mode 0644 -> 0600\n")


def test_a_unit_that_an_up_was_killed_before_restarting_is_restarted(wanted: Wanted, seen: Seen) -> None:
    about = seen.files[CONFIG]
    assert about is not None
    about["changed"] = 300.0
    assert lines(todo(wanted, seen)) == [f"restart buildkit.service: {CONFIG} changed after it was started"]


def test_a_new_binary_is_a_new_link_and_restarts_what_runs_it(seen: Seen) -> None:
    newer = sample_wanted()
    k3s = newer.component("k3s")
    artifact = replace(k3s.uploads[0].artifact, sha256="f" * 64)
    uploads = (replace(k3s.uploads[0], artifact=artifact), *k3s.uploads[1:])
    links = (replace(k3s.links[0], target=uploads[0].path), *k3s.links[1:])
    changed = replace(k3s, uploads=uploads, links=links)
    newer = Wanted(newer.node, tuple(changed if c.name == "k3s" else c for c in newer.components))
    made = todo(newer, seen)
    assert made.restart == ("k3s.service",)
    assert [upload.artifact.name for work in made.works for upload in work.uploads] == ["k3s"]


def test_a_file_of_another_component_restarts_what_reads_it(wanted: Wanted, seen: Seen) -> None:
    """As two services that run one binary."""
    path = "/etc/binder-node/minio.env"
    buildkit = wanted.component("buildkit")
    units = tuple(
        replace(unit, restart_on=(*unit.restart_on, path)) if unit.name == "buildkit.service" else unit
        for unit in buildkit.units
    )
    changed = replace(buildkit, units=units)
    both = Wanted(wanted.node, tuple(changed if c.name == "buildkit" else c for c in wanted.components))
    about = seen.files[path]
    assert about is not None
    about.update(sha256="0" * 64)
    assert set(todo(both, seen).restart) == {"minio.service", "buildkit.service"}


def test_a_stopped_unit_is_started_and_a_mount_is_never_restarted(wanted: Wanted, seen: Seen) -> None:
    seen.units["minio.service"]["ActiveState"] = "failed"
    about = seen.files["/etc/systemd/system/var-lib-rancher.mount"]
    assert about is not None
    about.update(sha256="0" * 64, changed=900.0)
    made = todo(wanted, seen)
    assert made.restart == ("minio.service",)
    assert made.reload


def test_a_unit_whose_condition_says_no_is_where_it_shall_be(wanted: Wanted, seen: Seen) -> None:
    seen.units["binder-node-swapoff.service"].update(ActiveState="inactive", ConditionResult="no", started=0.0)
    assert lines(todo(wanted, seen)) == []


def test_a_kernel_value_that_was_changed_by_hand_is_set_again(wanted: Wanted, seen: Seen) -> None:
    seen.sysctls["fs.inotify.max_user_instances"] = "128"
    seen.sysctls["net.bridge.bridge-nf-call-ip6tables"] = None  # not in this kernel
    assert lines(todo(wanted, seen)) == [
        "restart systemd-sysctl.service: fs.inotify.max_user_instances is 128, not 8192"
    ]


def test_a_providers_own_clock_is_kept(wanted: Wanted, seen: Seen) -> None:
    seen.units["systemd-timesyncd.service"].update(LoadState="not-found", UnitFileState="")
    assert lines(todo(wanted, seen)) == [
        "create kernel: package systemd-timesyncd",
        "update enable systemd-timesyncd.service",
    ]
    seen.units["chrony.service"] = {"UnitFileState": "enabled"}
    assert lines(todo(wanted, seen)) == []


def test_what_an_older_version_left_is_taken_away(wanted: Wanted, seen: Seen) -> None:
    seen.manifest.update(paths=["/etc/binder-node/old.conf", CONFIG], units=["binder-node-old.service"])
    about = seen.files["/etc/binder-node/manifest.json"]
    assert about is not None
    about.update(sha256="0" * 64)
    made = todo(wanted, seen)
    assert lines(made) == [
        "delete unit binder-node-old.service, no longer wanted",
        "delete /etc/binder-node/old.conf, no longer wanted",
    ]
    assert [operation["name"] for operation in operations(wanted, made)] == [
        "manifest",
        "stop old units",
        "tidy",
        "forget old units",
    ]
    assert made.first_manifest is not None
    assert b"/etc/binder-node/old.conf" in made.first_manifest
    assert made.manifest is not None
    assert b"/etc/binder-node/old.conf" not in made.manifest


def test_the_store_keeps_the_version_before_and_no_parts(wanted: Wanted, seen: Seen) -> None:
    kept = wanted.component("k3s").uploads[0].path.rpartition("/")[2]
    seen.store.update({kept: 9.0, "k3s-aaaa": 5.0, "k3s-bbbb": 6.0, "minio-cccc": 1.0, ".part-k3s-dddd": 8.0})
    assert todo(wanted, seen).removed == (
        "/opt/binder-node/store/.part-k3s-dddd",
        "/opt/binder-node/store/k3s-aaaa",
    )


def test_a_cut_upload_is_sent_again(wanted: Wanted, seen: Seen) -> None:
    upload = wanted.component("minio").uploads[0]
    about = seen.paths[upload.path]
    assert about is not None
    about["size"] = 12
    assert lines(todo(wanted, seen)) == ["create minio: upload minio v1 (0 MB)"]


def test_another_inventory_changes_only_what_it_says(wanted: Wanted) -> None:
    more = sample_wanted(sample_spec(buildkit={"mtu": 1400}))
    seen = as_made(wanted)
    about = seen.files["/etc/buildkit/cni.conflist"]
    assert about is not None
    assert todo(more, seen).restart == ("buildkit.service",)
    assert todo(sample_wanted(other_spec()), seen).restart != ()
