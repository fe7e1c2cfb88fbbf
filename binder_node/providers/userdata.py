"""What a bare machine is handed first: one cloud-init document, the same for every provider. Pure."""

from __future__ import annotations

import io
from typing import Any

from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

HEADER = "#cloud-config\n"


def document(spec: Spec, secrets: Secrets) -> dict[str, Any]:
    """The document as data. Holds the private host key: hand it to the provider's API or a 0600 file, never show it.

    The host key is made here, so that the very first connection can be strict
    (https://cloudinit.readthedocs.io/en/latest/reference/modules.html#ssh). A login that is not root's gets sudo
    without a password: the rest of this package becomes root by it. The operators' keys are the host room's to keep
    (:mod:`binder_node.host.login`): cloud-init runs once, and they change.
    """
    user: dict[str, Any] = {"name": spec.ssh.user, "ssh_authorized_keys": [secrets.login_key_public]}
    if spec.ssh.user != "root":
        user |= {"shell": "/bin/bash", "lock_passwd": True, "sudo": "ALL=(ALL) NOPASSWD:ALL"}
    return {
        "hostname": spec.name,
        "manage_etc_hosts": False,
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": secrets.host_key.reveal(), "ed25519_public": secrets.host_key_public},
        "users": [user],
        "swap": {"size": 0},
    }


def user_data(spec: Spec, secrets: Secrets) -> str:
    """The document as a provider's API takes it: YAML below the line ``#cloud-config``."""
    from ruamel.yaml import YAML

    out = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 4096  # a folded public key is no key
    writer.dump(document(spec, secrets), out)
    return HEADER + out.getvalue()
