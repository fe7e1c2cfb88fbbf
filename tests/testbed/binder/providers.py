"""Where a repository's URL and commit come from: ``git`` (any URL) and ``gh`` (GitHub's, by owner and name)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlparse

SHA1 = re.compile(r"[0-9a-f]{40}")
PROTOCOLS = ("http", "https", "git", "ssh")
LOOKUP_SECONDS = 30


class SpecError(ValueError):
    """The part of the address after the provider's name makes no sense."""


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository at an unresolved ref. ``slug`` names its images."""

    provider: str
    url: str
    ref: str
    slug: str
    path: str  # of the spec, without the ref

    @classmethod
    def parse(cls, provider: str, spec: str) -> Repo:
        """From ``<quoted url>/<ref>`` (git) or ``<owner>/<name>/<ref>`` (gh). Raises :class:`SpecError`."""
        path, _, ref = spec.rpartition("/") if provider == "gh" else spec.partition("/")
        if provider == "gh":
            parts = spec.split("/", 2)
            if len(parts) != 3 or not all(parts):
                raise SpecError(f"Spec is not of the form owner/name/ref: {spec}")
            owner, name, ref = parts
            name = name.removesuffix(".git")
            return cls(
                "GitHub", f"https://github.com/{owner}/{name}", unquote(ref), f"{owner}-{name}", f"{owner}/{name}"
            )
        url = unquote(path)
        if urlparse(url).scheme not in PROTOCOLS:
            raise SpecError(f"Unsupported git url {url}, protocol {urlparse(url).scheme} not in {', '.join(PROTOCOLS)}")
        if not ref:
            raise SpecError("`unresolved_ref` must be specified in the url for the basic git provider")
        return cls("Git", url, unquote(ref), url, path)

    async def resolve(self) -> str | None:
        """The commit, by ``git ls-remote`` unless the ref is one; None where the repository has no such ref."""
        if SHA1.fullmatch(self.ref):
            return self.ref
        process = await asyncio.create_subprocess_exec(
            *("git", "ls-remote", "--", self.url, self.ref),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), LOOKUP_SECONDS)
        except TimeoutError:
            process.kill()
            raise RuntimeError(f"git ls-remote did not answer in {LOOKUP_SECONDS} s") from None
        if process.returncode:
            raise RuntimeError(f"Unable to run git ls-remote to get the `resolved_ref`: {err.decode()}")
        return out.decode().split(None, 1)[0] if out else None
