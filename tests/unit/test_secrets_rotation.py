"""A rotated secret is wanted on the node at once: which files, which values, and what restarts, secret by secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from binder_node.cluster.values import compose, flat, read, revealed
from binder_node.host.diff import todo
from binder_node.host.render import render
from binder_node.node import Node
from binder_node.providers.userdata import document
from binder_node.secrets.catalog import CATALOG, hindrance
from binder_node.secrets.document import About, Document
from binder_node.secrets.generate import KEYS, MAKERS, complete
from binder_node.secrets.masked import REVEAL
from binder_node.secrets.model import Secrets
from binder_node.secrets.operations import new_values
from binder_node.spec.model import Spec
from tests.unit.host_samples import ADDRESS, ENGINE, MANIFESTS, as_made, other_spec, sample_artifacts, sample_spec

ETC = "/etc/binder-node"
S3_FILES = {f"{ETC}/registry-{name}.yaml" for name in ("push", "push-readonly", "pull")}
BACKUP_FILE = f"{ETC}/backup.json"
# Read at each run of their timers: nothing is restarted for them.
EVENTS_FILE = f"{ETC}/events.json"
RETENTION_FILE, PODS_FILE = f"{ETC}/retention.json", f"{ETC}/pods.json"
# Which pods the chart starts anew for a changed value (binderhub's templates/deployment.yaml, zero-to-jupyterhub's
# templates/hub/deployment.yaml and templates/proxy/deployment.yaml; tests/integration renders a chart to see).
PODS = {
    "config.": ("binder",),
    "registry.": ("binder",),
    "podAnnotations.": ("binder",),
    "jupyterhub.": ("hub",),
    "jupyterhub.proxy.": ("proxy",),
}

# What is other on the node for each secret: files of the host, values of the release.
WANTED: dict[str, tuple[set[str], set[str]]] = {
    "s3_access_key": ({*S3_FILES, EVENTS_FILE, RETENTION_FILE}, set()),
    "s3_secret_key": ({*S3_FILES, EVENTS_FILE, RETENTION_FILE}, set()),
    "backup_access_key": ({BACKUP_FILE}, set()),
    "backup_secret_key": ({BACKUP_FILE}, set()),
    "minio_root_user": ({f"{ETC}/minio.env"}, set()),
    "minio_root_password": ({f"{ETC}/minio.env"}, set()),
    "registry_push_password": ({f"{ETC}/registry-push.htpasswd", RETENTION_FILE}, {"registry.password"}),
    "registry_pull_password": (
        {f"{ETC}/registry-pull.htpasswd", "/etc/rancher/k3s/registries.yaml"},
        {"config.DockerRegistry.password", "jupyterhub.imagePullSecret.password"},
    ),
    "registry_http_secret": (S3_FILES, set()),
    "hub_cookie_secret": (set(), {"jupyterhub.hub.cookieSecret"}),
    "hub_crypt_key": (set(), {"jupyterhub.hub.config.CryptKeeper.keys"}),
    "proxy_token": (set(), {"jupyterhub.proxy.secretToken"}),
    "binder_api_token": ({PODS_FILE}, {"podAnnotations.binder-node/hub", "jupyterhub.hub.services.binder.apiToken"}),
    "build_token_secret": (set(), {"config.BinderHub.build_token_secret"}),
    "k3s_token": ({"/etc/rancher/k3s/config.yaml.d/token.yaml"}, set()),
}


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return complete({})


def node(spec: Spec, values: dict[str, str]) -> Node:
    return Node(spec, Secrets.model_validate(values), sample_artifacts(), {"build": "image"}, Path("/nowhere"))


def host_after(spec: Spec, old: dict[str, str], new: dict[str, str]) -> Any:
    """What `up` does to a machine that was made with the old secrets."""
    was = node(spec, old)
    now = node(spec, new)
    seen = as_made(render(was.spec, was.secrets, was.artifacts, ADDRESS, MANIFESTS, ENGINE))
    return todo(render(now.spec, now.secrets, now.artifacts, ADDRESS, MANIFESTS, ENGINE), seen)


def values_after(spec: Spec, old: dict[str, str], new: dict[str, str]) -> set[str]:
    was, now = (flat(revealed(compose(node(spec, one), ADDRESS, read(spec)).values)) for one in (old, new))
    return {path for path in was.keys() | now.keys() if was.get(path) != now.get(path)}


def pods(paths: set[str]) -> set[str]:
    return {pod for path in paths for prefix, found in PODS.items() if path.startswith(prefix) for pod in found}


def test_every_secret_is_in_the_catalog_and_in_the_table() -> None:
    names = {name for name in Secrets.model_fields if not name.endswith("_public") and name != "tokens"}
    assert set(CATALOG) == names == {*MAKERS, *KEYS}
    assert set(WANTED) | set(KEYS) == names


@pytest.mark.parametrize("name", WANTED)
def test_what_a_rotated_secret_changes(name: str, before: dict[str, str]) -> None:
    after = {**before, **new_values([name])}
    assert {key for key in before if before[key] != after[key]} == {name}
    files, values = WANTED[name]
    done = host_after(sample_spec(), before, after)
    assert {file.path for work in done.works for file in work.files} == files
    changed = values_after(sample_spec(), before, after)
    assert changed == values
    if not CATALOG[name].fixed:
        units = {unit.removesuffix(".service") for unit in done.restart}
        assert set(CATALOG[name].restarts) == units | pods(changed)
    told = "\n".join(f"{change.what}\n{change.diff}" for change in done.changes)
    assert after[name] not in told
    assert before[name] not in told


def test_keys_of_a_new_machine_are_in_what_it_is_handed_first(before: dict[str, str]) -> None:
    after = {**before, **new_values(KEYS)}
    was, now = (document(sample_spec(), Secrets.model_validate(values)) for values in (before, after))
    assert was["ssh_keys"] != now["ssh_keys"]
    assert now["users"][0]["ssh_authorized_keys"] == [after["login_key_public"]]
    assert after["login_key_public"] != before["login_key_public"]


def test_keys_of_a_bucket_elsewhere_reach_both_registries(before: dict[str, str]) -> None:
    for name in ("s3_access_key", "s3_secret_key"):
        done = host_after(other_spec(), before, {**before, name: "another"})
        # Its backups and its launches go there with the same key, and what is used is written there.
        changed = {file.path for work in done.works for file in work.files}
        assert changed == {*S3_FILES, BACKUP_FILE, EVENTS_FILE, RETENTION_FILE, f"{ETC}/registry-cache.yaml"}
        units = {"registry-push.service", "registry-pull.service", "registry-cache.service"}
        assert set(done.restart) == units


def test_nothing_is_rotated_twice_over(before: dict[str, str]) -> None:
    """Applied once, there is nothing to do."""
    after = {**before, **new_values([name for name in MAKERS if name != "k3s_token"])}
    assert host_after(sample_spec(), after, after).changes == ()
    assert values_after(sample_spec(), after, after) == set()


class TestHindrance:
    """Which secrets can be rotated on a node, and why the others cannot."""

    def left(self, spec: Spec, *, new_machine: bool = False, **about: About) -> dict[str, str]:
        document = Document(values=complete({}), tokens={"hcloud": "x"}, about=about)
        names = document.names
        found = {name: hindrance(name, spec, document, "bids", new_machine=new_machine) for name in names}
        return {name: why for name, why in found.items() if why}

    def test_on_a_node_with_its_own_minio(self) -> None:
        assert set(self.left(sample_spec())) == {"host_key", "login_key", "k3s_token", "tokens.hcloud"}
        assert set(self.left(sample_spec(), new_machine=True)) == {"tokens.hcloud"}

    def test_a_bucket_elsewhere(self) -> None:
        left = self.left(other_spec())
        assert "there is no MinIO" in left["minio_root_password"]
        assert left["s3_secret_key"] == (
            "the bucket's provider makes it: make a new key there, "
            "then keep the new one by `binder-node secrets set bids s3_secret_key`"
        )

    def test_a_machine_that_was_found(self) -> None:
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        provider = {"kind": "ssh", "address": "203.0.113.10", "host_key": key}
        spec = sample_spec()
        found = Spec.model_validate({**spec.model_dump(), "provider": {**provider, "identity": "/home/me/key"}})
        left = self.left(found, new_machine=True)
        assert set(left) == {"host_key", "tokens.hcloud"}
        assert "provider.host_key" in left["host_key"]

    def test_what_was_given_is_not_made_here(self) -> None:
        left = self.left(sample_spec(), build_token_secret=About("", "", "given"))
        assert left["build_token_secret"].startswith("it was given to you")


def test_the_how_to_names_every_secret_and_what_restarts() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/rotate-secrets.md").read_text(encoding="utf-8")
    for name, entry in CATALOG.items():
        lines = [line for line in page.splitlines() if name in line]
        assert lines, name
        if not entry.fixed:
            (row,) = (line for line in lines if line.startswith("|") and f"`{name}`" in line.split("|")[1])
            assert [unit for unit in entry.restarts if f"`{unit}`" not in row.split("|")[2]] == []


def test_dumping_shows_no_value(before: dict[str, str]) -> None:
    held = Document(values=before, tokens={"hcloud": "t0ken"})
    secrets = Secrets.model_validate(before)
    assert not [value for value in secrets.model_dump(context=REVEAL).values() if value and value in repr(held)]
    assert "t0ken" not in repr(held)
