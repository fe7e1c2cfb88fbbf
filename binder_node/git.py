"""git, run for a repository that is named to it."""

from __future__ import annotations

import os
from collections.abc import Mapping

# What a hook, an alias or `rebase --exec` tells of its own repository (`git rev-parse --local-env-vars`, but for the
# settings that somebody gave): with these git works there, whatever folder it is told.
OF_A_REPOSITORY = frozenset(
    ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY",
     "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_WORK_TREE")
)  # fmt: skip


def environment(**more: str) -> Mapping[str, str]:
    """The shell's variables without those of another repository; ``more`` over them."""
    return {**{name: value for name, value in os.environ.items() if name not in OF_A_REPOSITORY}, **more}
