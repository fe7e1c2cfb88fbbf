"""Upstream's name and methods of what is asked whether a repository may be launched: the product wraps them."""

from __future__ import annotations

from .providers import Repo


class RepoProvider:
    """Of upstream's, what a ban needs; its own ``banned_specs`` are left out."""

    def __init__(self, repo: Repo, spec: str) -> None:
        self.repo, self.spec = repo, spec

    def is_banned(self) -> bool:
        return False

    def get_repo_url(self) -> str:
        return self.repo.url
