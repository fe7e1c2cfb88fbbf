"""The state folder and what lies in it; K3s's and the kubelet's own folders are bind mounts from there.

K3s keeps its default paths, so that every guide and tool finds them, while the bytes lie on the disk that the
inventory names.
"""

from __future__ import annotations

from binder_node.host.disk import mount_unit
from binder_node.host.wanted import Component, Folder, Unit, User, unit_file
from binder_node.layout import (
    ACME_STATE,
    BUILDKIT_STATE,
    ENGINE_STATE,
    ETC,
    HUB_STATE,
    HUB_UID,
    MINIO_STATE,
    RANCHER_STATE,
    STORE,
    TRAEFIK_UID,
)
from binder_node.spec.model import NodeStorage, Spec
from binder_node.spec.public import AcmeTls

# Volumes of pods (emptyDir: what users write) must not fill a small root disk either.
KUBELET_STATE = "kubelet"
MOUNTS = {"/var/lib/rancher": RANCHER_STATE, "/var/lib/kubelet": KUBELET_STATE}


def state(spec: Spec) -> Component:
    """Folders with their owners, and the bind mounts."""
    root = str(spec.machine.state)
    own_minio = isinstance(spec.storage, NodeStorage)
    return Component(
        "state",
        users=(User("minio"),) if own_minio else (),
        folders=(
            Folder(str(ETC)),
            Folder(str(STORE.parent)),
            Folder(str(STORE)),
            Folder(root, 0o711),
            Folder(f"{root}/{RANCHER_STATE}"),
            Folder(f"{root}/{KUBELET_STATE}", 0o750),
            *(_release(spec) if not spec.central else ()),
            *(Folder(where) for where in MOUNTS if where == "/var/lib/rancher"),
            Folder("/var/lib/kubelet", 0o750),
        ),
        units=tuple(Unit(mount_unit(where), _mount(spec, where), restarts=False) for where in MOUNTS),
    )


def _release(spec: Spec) -> tuple[Folder, ...]:
    """The folders of what builds, keeps and serves images, and of the release."""
    root = str(spec.machine.state)
    acme, own_minio = isinstance(spec.tls, AcmeTls), isinstance(spec.storage, NodeStorage)
    return (
        Folder(f"{root}/{BUILDKIT_STATE}", 0o700),
        Folder(f"{root}/{ENGINE_STATE}"),
        Folder(f"{root}/{HUB_STATE}", 0o700, str(HUB_UID), str(HUB_UID)),
        *((Folder(f"{root}/{ACME_STATE}", 0o700, str(TRAEFIK_UID), str(TRAEFIK_UID)),) if acme else ()),
        *((Folder(f"{root}/{MINIO_STATE}", 0o700, "minio", "minio"),) if own_minio else ()),
    )


def _mount(spec: Spec, where: str) -> str:
    root = str(spec.machine.state)
    source = f"{root}/{MOUNTS[where]}"
    # A disk that is missing must not hold up the boot, and sshd with it, for as long as it is waited for.
    options = "bind" if spec.machine.data_disk is None else "bind,nofail"
    return unit_file(
        Unit=[
            ("Description", f"{where} on the state disk (binder-node)"),
            ("RequiresMountsFor", root),
            ("Before", "k3s.service"),
        ],
        Mount=[("What", source), ("Where", where), ("Type", "none"), ("Options", options)],
        Install=[("WantedBy", "multi-user.target")],
    )
