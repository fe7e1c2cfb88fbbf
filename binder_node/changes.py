"""The one shape in which every room tells what it would do: a stage is ``inspect -> changes -> apply``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from binder_node.events import Reporter

Action = Literal["create", "update", "delete", "start", "restart", "run"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that ``apply`` will do. ``what`` is one line; ``diff`` a unified diff where there is one.

    Both are shown by ``plan`` and must have secrets masked already.
    """

    stage: str
    action: Action
    what: str
    diff: str = ""


Seen = TypeVar("Seen")


class Stage(Protocol[Seen]):
    """A room's part in the verbs. ``plan`` shows :meth:`changes`, ``up`` applies them, ``status`` is inspect alone.

    :meth:`inspect` reads the machine and changes nothing; :meth:`nothing` is what it would see on a machine that
    does not exist yet, so that ``plan`` works before there is one. :meth:`changes` is pure. :meth:`apply` makes them
    so, raises :class:`~binder_node.errors.StepError`, and leaves a state from which the same call goes on.
    """

    @property
    def name(self) -> str: ...

    def nothing(self) -> Seen: ...

    def inspect(self, report: Reporter) -> Seen: ...

    def changes(self, seen: Seen) -> list[Change]: ...

    def apply(self, seen: Seen, report: Reporter) -> None: ...
