"""What stands behind a server: nothing, or a machine (:mod:`tests.testbed.hetzner.nspawn`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine as its server has it. ``disk`` and the sizes of ``volumes`` ((id, GB) each) are in GB."""

    id: int
    name: str
    address: str
    disk: int
    image: str
    user_data: str
    ssh_keys: tuple[str, ...] = ()
    volumes: tuple[tuple[int, int], ...] = ()


class Machines(Protocol):
    """Every method returns when it is done, from a thread of its own; what it raises fails the action.

    The machine is asked for by its server's id. ``start`` of a running and ``stop`` of a stopped machine are no errors.
    """

    def start(self, wanted: Wanted) -> None: ...

    def stop(self, server: int, *, wait_for_it: bool = False) -> None:
        """Cut the power; ``wait_for_it``: have the machine shut down first."""
        ...

    def remove(self, server: int) -> None: ...

    def create(self, volume: int, size: int, format_: str | None) -> None:
        """A fresh volume of ``size`` GB; one that is attached unmade is made then, empty."""
        ...

    def attach(self, server: int, volume: int, size: int, format_: str | None) -> None: ...

    def detach(self, server: int, volume: int) -> None: ...

    def resize(self, volume: int, size: int) -> None: ...

    def drop(self, volume: int) -> None:
        """The volume's data is gone."""
        ...

    def close(self, volumes: Sequence[int] = ()) -> None:
        """Everything is gone: machines, volumes, network."""
        ...


class NoMachines:
    """Servers that are records only."""

    def start(self, wanted: Wanted) -> None:
        del wanted

    def stop(self, server: int, *, wait_for_it: bool = False) -> None:
        del server, wait_for_it

    def remove(self, server: int) -> None:
        del server

    def create(self, volume: int, size: int, format_: str | None) -> None:
        del volume, size, format_

    def attach(self, server: int, volume: int, size: int, format_: str | None) -> None:
        del server, volume, size, format_

    def detach(self, server: int, volume: int) -> None:
        del server, volume

    def resize(self, volume: int, size: int) -> None:
        del volume, size

    def drop(self, volume: int) -> None:
        del volume

    def close(self, volumes: Sequence[int] = ()) -> None:
        del volumes
