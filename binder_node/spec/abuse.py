"""The section of the Spec that says how much of the world users' code may ask for."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from pydantic import Field

from binder_node.spec.quantity import Quantity
from binder_node.spec.types import Model, Url


class Abuse(Model):
    """What one pod or one build step may ask of the world before it is cut: a scan does within seconds, installs and
    clones never."""

    targets: int = Field(
        100,
        ge=10,
        le=60000,
        description="Targets (an address and a port) that may be met at once; those of the last hour are free.",
    )
    targets_rate: int = Field(3, ge=1, le=1000, description="... and how many more a second.")
    connections: int = Field(500, ge=10, le=60000, description="New connections at once, wherever to.")
    connections_rate: int = Field(50, ge=1, le=1000, description="... and how many more a second.")
    cut: int = Field(300, ge=1, le=86400, description="Seconds for which one that asked for more is refused all.")
    upload: Quantity | None = Field(
        Quantity("125k"),
        description="Bytes a second that one may send over connections that it opened (the federation's 1 Mbit/s); "
        "None: no limit. With `deploy: federation` the federation's chart limits it.",
    )
    banned: tuple[IPv4Network, ...] = Field(
        (), description="Networks that users' code does not reach, and that do not reach the node's web."
    )
    banned_repositories: tuple[str, ...] = Field(
        (),
        description="Repositories that are not launched, and all below them: [github.com/org, gitlab.com/org/name].",
        examples=[["github.com/org/name"]],
    )
    banned_file: Path | None = Field(
        None,
        description="More of both, one a line, `#` begins a comment. Relative to the inventory; `up` brings it over.",
    )
    banned_url: Url | None = Field(
        None,
        description="More of both, from a page of the same form, which the node reads every quarter of an hour.",
        examples=["https://example.org/banned.txt"],
    )
    cryptnono: bool = Field(
        False,
        description="Whether cryptnono runs: it ends processes of pods that mine, or that scan, by eBPF in privileged "
        "pods of its own. With `deploy: federation` the federation's chart brings it.",
    )
    keep_days: int = Field(
        14, ge=1, le=365, description="Days for which it is remembered who ran, asked for what and was cut."
    )
