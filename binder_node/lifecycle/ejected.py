"""The README of an ejected node: how it is run without this toolkit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from binder_node.cluster.plain import CHART, SECRETS, VALUES
from binder_node.layout import ETC, K3S_KUBECONFIG, NAMESPACE, RELEASE
from binder_node.spec.model import NodeStorage, Spec
from binder_node.storage.backups import bucket_of, own_key, prefix
from binder_node.storage.plain import KEYS, SCRIPT
from binder_node.storage.policy import cache_expiry


def readme(
    spec: Spec,
    address: str,
    zone: Sequence[str],
    versions: Iterable[tuple[str, str, str]],
    made_by: str,
    files: Iterable[str],
) -> str:
    """``versions`` are artifacts by name, version and digest; ``zone`` the records as a zone file has them."""
    own_bucket = isinstance(spec.storage, NodeStorage)
    parts = [
        _beginning(spec, address, made_by),
        _steps(spec, address, own_bucket),
        _names(zone),
        _later(spec),
        _secrets(files, own_bucket),
        "## What it is made of\n\n| Artifact | Version | SHA-256 |\n|---|---|---|\n"
        + "".join(f"| {name} | {version} | `{digest}` |\n" for name, version, digest in versions),
    ]
    return "\n".join(parts)


def _beginning(spec: Spec, address: str, made_by: str) -> str:
    return f"""\
# Node {spec.name}, without binder-node

Written by `binder-node eject` (binder-node {made_by}) for the machine at {address}. Nothing here needs binder-node: it
is plain files, systemd units, Kubernetes manifests, Helm values, and shell scripts short enough to be read first.

| | |
|---|---|
| `host.sh` | makes the machine: packages, users, folders, files, units |
| `files/` | every file, at its path on the machine; owners and modes are in `host.sh` |
| `blocks/` | lines of ours in files that others own (`/etc/hosts`, `authorized_keys`) |
| `artifacts/` | binaries and images, by name and the beginning of their digest |
| `{VALUES}`, `{SECRETS}` | values of the BinderHub chart `{CHART}`, which is upstream's |
| `release.sh` | makes the release with them |
"""


def _steps(spec: Spec, address: str, own_bucket: bool) -> str:
    bucket = (
        f"./{SCRIPT}     # the registry's bucket on the node's own MinIO, and its key\n"
        if own_bucket
        else "# the registry's bucket is elsewhere: it has to be there, and its key be valid (see below)\n"
    )
    elsewhere = (
        ""
        if own_bucket
        else f"""
The bucket `{spec.storage.bucket}` wants a lifecycle rule that aborts incomplete uploads after a day: pushes that died
leave parts which cost money and are never listed.
"""
    )
    cache = cache_expiry(spec)
    if cache is not None and not own_bucket:
        elsewhere += f"""
It wants one that removes what lies below `{cache.prefix}` after {cache.days} days: what the cache of Docker Hub keeps.
"""
    if spec.backup.hours and not own_key(spec):
        elsewhere += f"""
The bucket `{bucket_of(spec)}` wants one that removes what lies below `{prefix(spec)}` after {spec.backup.keep} days:
backups, which the node writes and does not remove.
"""
    disk = (
        ""
        if spec.machine.data_disk is None
        else """
The node's state lies on a disk of its own. `host.sh` looks for its filesystem by UUID, and where there is none stops
and says with which one to make it.
"""
    )
    return f"""\
## On a bare machine

Debian 12 or Ubuntu 24.04, {spec.machine.cpus} cores, {int(spec.machine.memory) / 1e9:.0f} GB of RAM, reached as \
`{spec.ssh.user}`. Copy this folder there as root, closed to others, then:

```sh
./host.sh       # the machine, up to a Kubernetes that answers
{bucket}./release.sh    # BinderHub and JupyterHub; ends when their pods are up
```

Each can be run again; what is right stays. On the machine that it was written for they change nothing but restart the
host's units.

The address {address} is in some of the files. For a machine with another one, replace it first:

```sh
grep -rlF {address} files blocks {VALUES} | xargs sed -i 's/{address.replace(".", "[.]")}/NEW/g'
```
{disk}{elsewhere}"""


def _names(zone: Sequence[str]) -> str:
    records = "\n".join(zone)
    return f"""\
## Names

```
{records}
```
"""


def _later(spec: Spec) -> str:
    certificates = {
        "none": "There are none: this node speaks plain http.",
        "files": "The certificate is in `certificate.yaml`: put the next one there, and apply it with kubectl.",
        "acme": "Traefik orders and renews them itself (`files/` has its settings, as a HelmChartConfig of K3s).",
    }[spec.tls.mode]
    backups = (
        f"- Backups lie below `{prefix(spec)}` in the bucket `{bucket_of(spec)}`. Whoever could read the node's\n"
        "  secrets opens one: `age --decrypt -i IDENTITY FILE | tar -xz`.\n"
        if spec.backup.hours
        else ""
    )
    return f"""\
## From then on

- Look: `systemctl --failed`, `journalctl -u k3s`, `kubectl get pods -n {NAMESPACE}` (kubeconfig: `{K3S_KUBECONFIG}`).
- Change a setting of BinderHub: edit `{VALUES}`, run `release.sh`. `helm history {RELEASE} -n {NAMESPACE}` has the last
  ones, `helm rollback` takes one back.
- Change the machine: edit the file below `files/`, run `host.sh`, which puts it there and restarts the host's units.
- A new K3s, BuildKit or registry: put the binary into `/usr/local/bin` in the link's place, restart its unit. Nothing
  upgrades itself.
- Certificates: {certificates}
- K3s's own certificates end after a year; a restart of K3s in their last months renews them.
- What runs by timers: `systemctl list-timers 'binder-node*'`. Their programs are in `{ETC}`, in Python, and are yours.
{backups}- Files say "changes here are undone by the next `up`": there is no next one.

`{ETC}/manifest.json` and the release's label are for binder-node alone. As long as they are there and nothing else was
changed, `binder-node plan {spec.name}` shows no change, and you can come back.
"""


def _secrets(files: Iterable[str], own_bucket: bool) -> str:
    keys = f"`{KEYS}`, " if own_bucket else ""
    count = sum(1 for file in files if file.startswith("files/"))
    return f"""\
## What is secret

{keys}`{SECRETS}`, and some of the {count} files below `files/` (those that `host.sh` closes to others). They are not
encrypted here. Keep the folder as you keep a password, and no copy of it in version control.
"""
