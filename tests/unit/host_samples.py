"""Specs, secrets and artifacts for the host room's tests; ``python -m tests.unit.host_samples`` writes the goldens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from binder_node.artifacts.model import Artifact
from binder_node.host.observe import MANIFEST, Seen, digest, manifest_of
from binder_node.host.render import render
from binder_node.host.wanted import Component, Wanted
from binder_node.layout import LIB
from binder_node.secrets.masked import Masked
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Machine, Spec
from binder_node.spec.sizing import defaults

GOLDEN = Path(__file__).parent / "golden" / "host"
ADDRESS = "198.18.7.20"
MANIFESTS = "apiVersion: v1\nkind: Namespace\nmetadata: {name: binder}\n"
MADE_OF = '[k3s]\nversion = "v1.35.8+k3s1"\n'
ENGINE = {"site/engine.py": b"print('engine')\n", "etc/repo2docker.py": b"c = None\n"}
NAMES = ("k3s", "k3s-images", "minio", "registry", "buildkitd", "buildctl", "cni-bridge", "cni-host-local",
         "cni-loopback", "age", "prometheus", "alertmanager", "node-exporter", "helm", "binderhub-chart")  # fmt: skip


def sample_spec(**said: Any) -> Spec:
    """A node with 2 cores, 8 GB and 40 GB; ``said`` is merged over its sections."""
    machine = {"cpus": 2, "memory": "8G", "disk": "40G", **said.pop("machine", {})}
    names = {"binder": "bids.example.org"}
    computed = defaults(Machine.model_validate(machine), names)
    raw: dict[str, Any] = {
        "name": "bids-1",
        "provider": {"kind": "local", "network": "198.18.7.0/24", "address": ADDRESS},
        "tls": {"mode": "none"},
        "storage": {"kind": "node"},
        **computed,
        "machine": machine,
        "names": {**names, **computed["names"]},
    }
    for section, values in said.items():
        raw[section] = {**raw.get(section, {}), **values} if isinstance(values, dict) else values
    return Spec.model_validate(raw)


def other_spec() -> Spec:
    """Everything that an inventory can say to this room, said otherwise than by default."""
    return sample_spec(
        machine={"cpus": 24, "memory": "192G", "disk": "960G", "state": "/data/node", "data_disk": "auto"},
        ssh={
            "user": "debian",
            "port": 2222,
            "admin_networks": ["192.0.2.0/24", "198.51.100.7/32"],
            "admins": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ada"],
        },
        tls={"mode": "acme", "email": "ops@example.org"},
        storage={"kind": "s3", "endpoint": "https://s3.example.net", "region": "eu-1", "bucket": "bids-registry"},
        registry={"mirrors": {"docker.io": ["https://mirror.example.net", "http://198.18.7.1:5080/hub"]}},
        kubernetes={"api_from": ["192.0.2.9/32"], "pod_network": "10.52.0.0/16", "service_network": "10.53.0.0/16"},
        buildkit={"worker": "oci", "cache": "250G", "network": "10.11.0.0/16", "mtu": 1400},
    )


def central_spec() -> Spec:
    """A member that its federation deploys."""
    return sample_spec(
        deploy="federation",
        federation={"member": "bids-ovh"},
        tls={"mode": "acme", "email": "ops@example.org"},
        storage={"kind": "s3", "endpoint": "https://s3.example.net", "region": "eu-1", "bucket": "bids-registry"},
        registry={"mirrors": {"docker.io": ["https://mirror.example.net"]}},
        kubernetes={"api_from": ["0.0.0.0/0"], "operators": ["ada", "deploy"]},
    )


def sample_secrets() -> Secrets:
    """Each secret is ``secret-<name>``, so that a test can look for any of them."""
    fields = Secrets.model_fields
    return Secrets.model_validate(
        {
            name: Masked(f"secret-{name}") if field.annotation is Masked else f"public-{name}"
            for name, field in fields.items()
            if field.is_required()
        }
    )


def sample_artifacts() -> dict[str, Artifact]:
    """Artifacts that are not there: their digests are of their names."""
    return {
        name: Artifact(name, "v1", Path(f"/nowhere/{name}"), digest(name.encode()), 1000 + index)
        for index, name in enumerate(NAMES)
    }


def sample_wanted(spec: Spec | None = None) -> Wanted:
    wanted = spec or sample_spec()
    own, engine = ("", {}) if wanted.central else (MANIFESTS, ENGINE)
    return render(wanted, sample_secrets(), sample_artifacts(), ADDRESS, own, engine, made_of=MADE_OF)


VARIANTS = {"plain": sample_spec, "other": other_spec, "central": central_spec}


def shown(component: Component) -> str:
    """A component as one text: what a reviewer reads."""
    return "\n".join(_shown(component)) + "\n"


def _shown(component: Component) -> Iterator[str]:
    for package in component.packages:
        yield f"package {package}"
    for user in component.users:
        yield f"user {user.name}"
    for folder in component.folders:
        yield f"folder {folder.path} {folder.mode:04o} {folder.owner}:{folder.group}"
    for upload in component.uploads:
        yield f"upload {upload.artifact.name} -> {upload.path} {upload.mode:04o}"
    for copy in component.copies:
        yield f"copy {copy.source} -> {copy.path}"
    for link in component.links:
        yield f"link {link.path} -> {link.target}"
    for block in component.blocks:
        yield f"block {block.path}"
        yield from (f"    {line}" for line in block.lines)
    for unit in component.units:
        flags = [name for name in ("enabled", "running", "restarts") if getattr(unit, name)]
        yield f"unit {unit.name} {' '.join(flags)}"
        yield from (f"    restart on {path}" for path in unit.restart_on)
        yield from (f"    up when {wait.kind} {wait.target}" for wait in unit.waits)
        yield from (f"    instead of {name}" for name in unit.instead_of)
    for key, value in component.sysctls.items():
        yield f"sysctl {key} = {value}"
    for file in component.all_files():
        yield ""
        yield f"=== {file.path} {file.mode:04o} {file.owner}:{file.group}{' secret' if file.secret else ''}"
        # A program of ours is the repository's own file, and has tests of its own.
        yield "..." if file.path.startswith(str(LIB)) else file.content.decode().rstrip("\n")


def as_made(wanted: Wanted, started: float = 200.0, changed: float = 100.0) -> Seen:
    """What would be seen of a machine on which ``wanted`` was made at ``changed`` and its units started after."""
    seen = Seen(exists=True, machine={"memory": 8 * 10**9, "cpus": 2, "disk": 40 * 10**9})
    for component in wanted.components:
        for file in component.all_files():
            owner = [file.owner, file.group, "0", "0"]
            about = {"kind": "file", "mode": file.mode, "owner": owner, "sha256": digest(file.content)}
            seen.files[file.path] = {**about, "changed": changed}
        for folder in component.folders:
            owner = [folder.owner, folder.group, "0", "0"]
            seen.paths[folder.path] = {"kind": "folder", "mode": folder.mode, "owner": owner, "changed": changed}
        for link in component.links:
            seen.paths[link.path] = {"kind": "link", "target": link.target, "changed": changed, "mode": 0o777}
        for upload in component.uploads:
            about = {"kind": "file", "size": upload.artifact.size, "mode": upload.mode, "changed": changed}
            seen.paths[upload.path] = {**about, "modified": 7}
        for copy in component.copies:
            about = {"kind": "file", "size": copy.artifact.size, "mode": 0o755, "changed": changed}
            seen.paths[copy.path] = {**about, "modified": 7}
        for block in component.blocks:
            seen.blocks[block.path] = list(block.lines)
        for unit in component.units:
            about = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running"}
            seen.units[unit.name] = {**about, "NeedDaemonReload": "no", "started": started, "asked": started}
        seen.sysctls.update(component.sysctls)
    seen.files[MANIFEST] = {"kind": "file", "sha256": digest(manifest_of(wanted)), "mode": 0o644}
    return seen


def write_goldens() -> None:
    for variant, spec in VARIANTS.items():
        folder = GOLDEN / variant
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.txt"):
            old.unlink()
        for component in sample_wanted(spec()).components:
            (folder / f"{component.name}.txt").write_text(shown(component))


if __name__ == "__main__":
    write_goldens()
    sys.stdout.write(f"goldens in {GOLDEN}\n")
