"""Following the prime: when its ``/versions`` change, prove the new build image, upgrade, and be back in rotation.

The redirector leaves out a member whose ``/versions`` differ from the prime's, build image included; the prime's change
on about one day in seven. The member is upgraded only when every canary was built with the node's engine on the new
image, and taken back when one of them cannot be launched afterwards: out of rotation is better than in and broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from binder_node import chartindex
from binder_node.errors import BinderNodeError, LockedError, StepError
from binder_node.events import Event, Kind, Reporter

STAGE = "follow"
Versions = Mapping[str, Any]
# What a look came to: as the prime; as the prime but out for another reason; somebody does not answer, or another run
# is at the node; a change seen for the first time; upgraded just now; a canary failed just now; the same change,
# refused before.
What = Literal["parity", "out", "silent", "changed", "upgraded", "failed", "refused"]
# Small, quick, and of the kinds that most launches are of.
CANARIES = ("gh/binder-examples/requirements", "gh/binder-examples/conda")
# A prime that is being upgraded answers with old and new replicas in turns.
SETTLED = 2
# So often in a row a canary is tried that cannot even be built: ssh or BinderHub's pod may be away for a moment.
TRIES = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """A canary's end: ``why`` it failed, empty when it did not."""

    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ways:
    """What following does outside.

    ``prime`` and ``member`` give their /versions, ``reasons`` why the redirector leaves the member out though they are
    the same. ``build`` builds a canary (image, repository) beside the running release, ``upgrade`` makes the release
    what the prime is, ``launch`` launches a canary on it, ``back`` makes it what it was. Each raises StepError; of a
    build, that says nothing of the canary.
    """

    prime: Callable[[], Versions]
    member: Callable[[], Versions]
    reasons: Callable[[], Sequence[str]]
    build: Callable[[str, str], Outcome]
    upgrade: Callable[[Versions], None]
    launch: Callable[[str], Outcome]
    back: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Look:
    """One look: ``message`` in a line, ``canary`` the one that failed, ``minutes`` out of rotation so far or in all."""

    what: What
    message: str
    canary: str = ""
    minutes: float = 0.0


@dataclass(slots=True)
class Follower:
    """A member that follows. ``name`` is for messages."""

    name: str
    canaries: Sequence[str]
    ways: Ways
    report: Reporter
    _out: float | None = None
    _seen: tuple[Versions, int] | None = None
    _refused: tuple[Versions, Look] | None = None
    _untried: int = 0

    def run(self, every: float, *, once: bool) -> Look:
        """Look every ``every`` seconds. With ``once``, until the member is as the prime and in rotation, or refused."""
        while True:
            look = self.look()
            self.report(Event(_kind(look.what), STAGE, f"{self.name}: {look.message}", asdict(look)))
            if once and look.what in ("parity", "failed", "refused"):
                return look
            if look.what != "upgraded":
                self.ways.sleep(every)

    def look(self) -> Look:
        """Look at both, and follow a change that has settled."""
        try:
            prime, own = self.ways.prime(), self.ways.member()
        except StepError as error:
            return Look("silent", str(error), minutes=self._minutes())
        if own == prime:
            return self._same()
        if self._out is None:
            self._out = self.ways.clock()
        if self._refused is not None and self._refused[0] == prime:
            failed = self._refused[1]
            return Look("refused", f"stays out: {failed.message}", failed.canary, self._minutes())
        count = self._seen[1] + 1 if self._seen is not None and self._seen[0] == prime else 1
        self._seen = (prime, count)
        if count < SETTLED:
            return Look("changed", f"the prime has {told(prime)}, this has {told(own)}", minutes=self._minutes())
        return self._follow(prime)

    def _same(self) -> Look:
        self._seen = self._refused = None
        reasons = self.ways.reasons()
        if reasons:
            self._out = self.ways.clock() if self._out is None else self._out
            return Look("out", f"as the prime, but out: {'; '.join(reasons)}", minutes=self._minutes())
        minutes, self._out = self._minutes(), None
        took = f", after {minutes:.1f} minutes out of rotation" if minutes else ""
        return Look("parity", f"as the prime, in rotation{took}", minutes=minutes)

    def _follow(self, prime: Versions) -> Look:
        image = build_image(prime)
        if not image:
            return self._refuse(prime, "", "the prime's /versions name no build image")
        for repo in self.canaries:
            self.report(Event("start", STAGE, f"{self.name}: build {repo} on {image}"))
            try:
                why, again = self.ways.build(image, repo).why, False
            except StepError as error:
                self._untried += 1
                why, again = str(error), self._untried < TRIES
            message = f"canary {repo} was not built on {image}: {why}"
            if again:
                return Look("silent", message, repo, self._minutes())
            if why:
                return self._refuse(prime, repo, message)
        self._untried = 0
        try:
            self.ways.upgrade(prime)
        except LockedError as error:
            return Look("silent", str(error), minutes=self._minutes())  # tried again at the next look
        except BinderNodeError as error:
            return self._undo(prime, "", f"the upgrade failed: {error}")
        for repo in self.canaries:
            self.report(Event("start", STAGE, f"{self.name}: launch {repo}"))
            if why := self._launched(repo):
                return self._undo(prime, repo, f"canary {repo} was not launched after the upgrade: {why}")
        # A BinderHub that goes may answer once more: it is not followed by another upgrade.
        self._seen = None
        return Look("upgraded", f"upgraded to {told(prime)}", minutes=self._minutes())

    def _launched(self, repo: str) -> str:
        try:
            return self.ways.launch(repo).why
        except StepError as error:
            return str(error)

    def _undo(self, prime: Versions, canary: str, message: str) -> Look:
        try:
            self.ways.back()
        except BinderNodeError as error:
            message = f"{message}; and the release could not be taken back: {error}"
        return self._refuse(prime, canary, message)

    def _refuse(self, prime: Versions, canary: str, message: str) -> Look:
        self._untried = 0
        look = Look("failed", message, canary, self._minutes())
        self._refused = (prime, look)
        return look

    def _minutes(self) -> float:
        return 0.0 if self._out is None else round((self.ways.clock() - self._out) / 60, 2)


def _kind(what: What) -> Kind:
    kinds: dict[What, Kind] = {"parity": "done", "upgraded": "change", "changed": "progress", "failed": "failed"}
    return kinds.get(what, "warn")


def told(versions: Versions) -> str:
    """``quay.io/...:1 and BinderHub 1.0``"""
    return f"{build_image(versions) or 'no build image'} and BinderHub {versions.get('binderhub', 'of no version')}"


def build_image(versions: Versions) -> str:
    """The build image in a ``/versions``; empty where there is none."""
    info = versions.get("builder_info")
    image = info.get("build_image") if isinstance(info, Mapping) else None
    return image if isinstance(image, str) else ""


# --- what is written for `up` --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chart:
    """BinderHub's chart at one version: ``digest`` is the SHA-256 of the file at ``url``."""

    version: str
    url: str
    digest: str


def commit_of(version: str) -> str:
    """The commit in a version of BinderHub's or of its chart; empty where it names none.

    >>> commit_of("1.0.0-0.dev.git.3983.h383374de"), commit_of("0.2.0+1021.g2d69b7c"), commit_of("1.0.0")
    ('383374de', '2d69b7c', '')
    """
    for word in version.replace("+", ".").replace("-", ".").split("."):
        if len(word) > 6 and word[0] in "gh" and all(letter in "0123456789abcdef" for letter in word[1:]):
            return word[1:]
    return ""


def same_commit(one: str, other: str) -> bool:
    """Whether two versions are of one commit: by its digits as far as both have them, or by the whole text."""
    first, second = commit_of(one), commit_of(other)
    length = min(len(first), len(second))
    return first[:length] == second[:length] if length else one == other


def chart_of(index: str, repository: str, version: str) -> Chart | None:
    """The chart of BinderHub's ``version`` in a Helm repository's ``index.yaml``; None where it has none."""
    needle = commit_of(version)[:7] or version
    for found in chartindex.charts(index, "binderhub", lambda entry: needle in entry):
        if same_commit(str(found["version"]), version):
            url = chartindex.address(found, repository)
            return Chart(str(found["version"]), url, str(found.get("digest", "")))
    return None


def pins_text(image: str, chart: Chart | None) -> str:
    """The node's own pins file: the prime's build image, and its chart where that is another than pinned."""
    lines = [
        "# What the federation's prime runs; written by `binder-node federation follow`, read by every command.",
        "[images]",
        f"build = {_quoted(image)}",
    ]
    if chart is not None:
        lines += [
            "",
            "[binderhub-chart]",
            f"version = {_quoted(chart.version)}",
            'kind = "chart"',
            'needed = "operator"',
            'sources = ["release"]',
            "",
            "[binderhub-chart.release.any]",
            f"url = {_quoted(chart.url)}",
            f"sha256 = {_quoted(chart.digest)}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    import json

    return json.dumps(text, ensure_ascii=False)
