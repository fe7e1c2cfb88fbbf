"""A stage taken through what ``up`` does with it."""

from __future__ import annotations

from typing import TypeVar

from binder_node.changes import Change, Stage
from binder_node.events import Reporter, silent

Seen = TypeVar("Seen")


def up(stage: Stage[Seen], report: Reporter = silent) -> list[Change]:
    """One look, and what it wants changed is; nothing is applied where that is nothing."""
    seen = stage.inspect(report)
    changes = stage.changes(seen)
    if changes:
        stage.apply(seen, report)
    return changes
