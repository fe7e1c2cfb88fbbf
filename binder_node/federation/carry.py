"""Carrying a change out: into the files of its checkouts, and as one commit in each where a branch is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from binder_node.federation.register import Files, Made, guide_paths, paths
from binder_node.federation.worktree import Worktree, diff


@dataclass(frozen=True, slots=True)
class Checkouts:
    """The federation's repository on this computer, and the user guide's where it is here too."""

    main: Worktree
    guide: Worktree | None
    config: str

    @staticmethod
    def at(main: Path, guide: Path | None, config: str) -> Checkouts:
        return Checkouts(Worktree(main), Worktree(guide) if guide is not None else None, config)


@dataclass(frozen=True, slots=True)
class Carried:
    """``diff`` is of all files; ``commits`` the new one in each checkout, by its folder."""

    made: Made
    diff: str
    commits: Mapping[str, str]


def carry(
    where: Checkouts,
    name: str,
    make: Callable[[Files, Files | None], Made],
    *,
    branch: str = "",
    show: bool = False,
    secret: str = "",
    also: tuple[str, ...] = (),
) -> Carried:
    """Read the checkouts, ``make`` the change for member ``name`` and write it, unless it is only to be shown.

    ``also`` are further files of the main checkout that ``make`` looks at; ``secret`` is a path among those written
    that git-crypt has to encrypt.

    Raises:
        InputError: a checkout cannot take it, or ``make`` refused; nothing was touched.
        StepError: git refused.
    """
    before = where.main.read([*paths(name, where.config), *also])
    pages = where.guide.read(guide_paths()) if where.guide is not None else None
    made = make(before, pages)
    text = diff(before, made.files) + (diff(pages, made.guide) if pages is not None else "")
    if show or made.empty:
        return Carried(made, text, {})
    if secret:
        where.main.unlocked(secret)
    works = [(where.main, made.files)] if made.files else []
    if where.guide is not None and made.guide:
        works.append((where.guide, made.guide))
    if branch:
        for tree, changed in works:
            tree.refuse_unclean(changed)
            tree.refuse_branch(branch)
        for tree, _ in works:
            tree.begin(branch)
    commits = {}
    for tree, changed in works:
        tree.write(changed)
        if branch:
            commits[str(tree.root)] = tree.commit(changed, made.what)
    return Carried(made, text, commits)
