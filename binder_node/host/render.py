"""The whole machine from a Spec: pure."""

from __future__ import annotations

from collections.abc import Mapping

from binder_node.artifacts.model import Artifact
from binder_node.host.backup import backup
from binder_node.host.banned import banned
from binder_node.host.buildkit import buildkit
from binder_node.host.disk import disk
from binder_node.host.engine import engine
from binder_node.host.events import events
from binder_node.host.firewall import firewall
from binder_node.host.hosts import hosts
from binder_node.host.hubcache import hubcache
from binder_node.host.jobs import jobs
from binder_node.host.k3s import k3s
from binder_node.host.kernel import kernel
from binder_node.host.login import login
from binder_node.host.metrics.component import lasting, metrics
from binder_node.host.minio import minio
from binder_node.host.pods import pods
from binder_node.host.programs import programs
from binder_node.host.recording import recording
from binder_node.host.registry import registry
from binder_node.host.retention import retention
from binder_node.host.state import state
from binder_node.host.wanted import Component, File, Wanted
from binder_node.host.watch import watch
from binder_node.layout import PINS
from binder_node.node import Sealing
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, Spec


def render(
    spec: Spec,
    secrets: Secrets,
    artifacts: Mapping[str, Artifact],
    address: str,
    manifests: str,
    engine_files: Mapping[str, bytes],
    erase_disk: str = "",
    made_of: str = "",
    sealing: Sealing = Sealing(),  # noqa: B008 - frozen
) -> Wanted:
    """What the machine at ``address`` shall be; components in an order in which they can be made.

    ``erase_disk`` is the id of the data disk whose content may go, ``made_of`` the text of the artifacts' pins,
    ``sealing`` for whom backups are encrypted. Where a
    central deploy makes the release, its chart brings builder and registry.
    """
    minios = [minio(spec, secrets, artifacts)] if isinstance(spec.storage, NodeStorage) else []
    builds = (
        [] if spec.central else [engine(spec, artifacts, engine_files), *minios, registry(spec, secrets, artifacts)]
    )
    caches = [hubcache(spec, secrets)] if spec.hub_days else []
    components = [
        kernel(),
        hosts(spec, address),
        login(spec, secrets),
        *([disk(spec, erase_disk)] if spec.machine.data_disk is not None else []),
        state(spec),
        firewall(spec),
        *builds,
        *caches,
        k3s(spec, secrets, artifacts, address, manifests),
        *([] if spec.central else [buildkit(spec, artifacts)]),
        *([recording(spec), programs()] if jobs(spec) else []),
        *([] if spec.central and spec.abuse.banned_url is None else [banned(spec, address)]),
        *([] if spec.central else [events(spec, secrets)]),
        watch(spec),
        *([] if spec.central else [retention(spec, secrets)]),
        *([] if spec.central or not spec.binderhub.sweep else [pods(spec, secrets)]),
        *([backup(spec, secrets, artifacts, sealing)] if spec.backup.hours else []),
    ]
    if spec.measured:
        components.append(metrics(spec, secrets, artifacts, address, lasting(components)))
    if made_of:
        components.append(Component("pins", files=(File(str(PINS), made_of.encode()),)))
    return Wanted(spec.name, tuple(components))
