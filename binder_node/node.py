"""Everything the rooms below the lifecycle are handed about one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from binder_node.artifacts.model import Artifact
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a machine by ssh, strictly: its key is the only line of ``known_hosts``."""

    name: str  # the node's name, for messages
    address: str
    port: int
    user: str
    identity: Path
    known_hosts: Path
    config: Path  # an OpenSSH config file that says all of the above for host ``name`` (and ControlPath)
    agent: bool = False  # the operator's ssh-agent instead of ``identity``: for a first login


@dataclass(frozen=True, slots=True)
class Sealing:
    """For whom the node's secrets are encrypted, public keys as age reads them, and the encrypted file as it is."""

    recipients: tuple[str, ...] = ()
    file: bytes = b""


@dataclass(frozen=True, slots=True)
class Node:
    """A Spec with its secrets, its artifacts by pin name, and ``runtime``: a private folder (0700) of sockets, keys.

    ``images`` are the names of container images that the pins fix (``build`` is the stock repo2docker image).
    ``erase_disk`` is the id of the data disk whose content may go, said for one run. ``made_of`` is the text that the
    node keeps of the pins of its artifacts; empty: none. ``successor`` is the node that takes this one's place, while
    both are there (its inventory ``replaces`` this one).
    """

    spec: Spec
    secrets: Secrets
    artifacts: Mapping[str, Artifact]
    images: Mapping[str, str]
    runtime: Path
    erase_disk: str = ""
    made_of: str = ""
    sealing: Sealing = Sealing()
    successor: str = ""
