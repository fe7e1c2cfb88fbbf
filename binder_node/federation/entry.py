"""A node as its federation's repositories name it."""

from __future__ import annotations

from dataclasses import dataclass

from binder_node.errors import InputError, Problem
from binder_node.federation.config import Member
from binder_node.spec.model import Spec

# Members began at 10, 5 and 10 (mybinder.org-deploy's history); a high weight at once began a build storm (#3173).
FIRST_WEIGHT = 10


class Unknown(Exception):
    """A file has not the shape that is known; ``str(error)`` says what it lacks. It is left as it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """``url`` without a slash at its end; ``central``: the federation deploys it; ``channel``: K3s's, ``v1.35``.

    ``prometheus``, ``sponsor``, ``sponsor_url`` and ``logo`` are empty where there is none.
    """

    name: str
    url: str
    central: bool
    channel: str = ""
    prometheus: str = ""
    sponsor: str = ""
    sponsor_url: str = ""
    logo: str = ""

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    def member(self, weight: float) -> Member:
        """What the redirector is told; never as the prime."""
        return Member(self.name, self.url, f"{self.url}/health", f"{self.url}/versions", weight)


def entry(spec: Spec, k3s: str = "") -> Entry:
    """The entry of a node; ``k3s`` is the version that the pins say, like ``v1.35.8+k3s1``.

    Raises:
        InputError: the inventory does not name the member.
    """
    said = spec.federation
    if not said.member:
        right = "write federation.member, its name in the federation's config, like bids-ovh"
        raise InputError(Problem(f"{spec.name}.yaml", 0, "federation.member", "is not set", right))
    central = spec.central
    return Entry(
        name=said.member,
        url=spec.url(spec.names.binder),
        central=central,
        channel=".".join(k3s.split(".")[:2]),
        prometheus=f"https://prometheus.{spec.names.binder}" if central else "",
        sponsor=said.sponsor,
        sponsor_url=said.sponsor_url or "",
        logo=said.logo or "",
    )


__all__ = ["FIRST_WEIGHT", "Entry", "Unknown", "entry"]
