"""Memory of a local machine, by its control group: the machine itself sees all of this computer's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from binder_node.providers.local.cgroups import groups
from binder_node.providers.local.plan import Folders
from tests.node.harness import Home


@dataclass(frozen=True)
class Memory:
    """The machine's own, by its control group: bytes that processes hold, and nothing that the kernel could drop."""

    group: Path

    @classmethod
    def of(cls, home: Home) -> Memory:
        name = Folders(home.folder / "machines" / home.name).group
        return cls(next(group for group in groups(name) if list(group.glob("memory.stat"))))

    def limit(self, size: int) -> None:
        next(
            self.group / name for name in ("memory.limit_in_bytes", "memory.max") if (self.group / name).exists()
        ).write_text(str(size))

    @property
    def used(self) -> int:
        lines = (self.group / "memory.stat").read_text().splitlines()
        stat = {name: int(value) for name, value in map(str.split, lines)}
        return stat["total_rss"] + stat["total_shmem"] if "total_rss" in stat else stat["anon"] + stat["shmem"]
