"""``follow``: a node's canaries, its upgrade to what the prime runs, and the way back."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

from binder_node import files, remote
from binder_node.artifacts.store import Sources
from binder_node.binder.client import Binder, told
from binder_node.binder.repo import parse_repo
from binder_node.cluster.kube import sudo
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Reporter, quiet
from binder_node.federation import ask, follow
from binder_node.federation.book import read
from binder_node.federation.config import CHART, Federation, member_at
from binder_node.federation.follow import Chart, Follower, Outcome, Versions, Ways
from binder_node.federation.on_binder.canary import ANSWER
from binder_node.layout import NAMESPACE
from binder_node.lifecycle.launch import launch
from binder_node.lifecycle.lock import locked
from binder_node.lifecycle.membership import Reached
from binder_node.lifecycle.opened import Opened, open_spec, pins_of
from binder_node.lifecycle.releasing import deployed_here, refuse_other_changes, release
from binder_node.upgrades.components import held_in, merged

# A build image is about 500 MB to pull, and canaries are small.
BUILD_SECONDS = 600.0
# An image that is not to be had is tried again by the kubelet, after 10 and 20 seconds.
PATIENCE = 45.0
CONFIG = "/etc/binderhub/config/binderhub_config.py"  # binderhub's chart, templates/deployment.yaml
# Images of canaries: never looked for by a launch, overwritten by the next canary.
PREFIX, TAG = "binder-node-canary-", "latest"
# Where repositories of BinderHub's providers are cloned from; `git`'s say it themselves.
HOSTS = {"gh": "https://github.com", "gl": "https://gitlab.com"}


@dataclass(slots=True)
class Following:
    """A node and the prime whose versions it follows; ``sources`` are those of the chart."""

    opened: Opened
    member: Reached
    prime: Binder
    sources: Sources
    report: Reporter
    pins: Path = field(init=False)
    # What the pins file was before an upgrade that may have to be taken back; empty: nothing was written.
    _before: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        deployed_here(self.opened, "NODE", "it gets its versions together with the prime")
        if why := held_in(self.opened.pins.entries).get("chart"):
            right = f"`binder-node upgrade {self.opened.spec.name} chart --again`, or remove NODE.held.toml"
            raise InputError(Problem("", 0, "NODE", f"its chart is held: {why}", right))
        self.pins = pins_of(self.opened.inventory)

    def follower(self, canaries: Sequence[str]) -> Follower:
        """What follows, with these repositories for canaries. Raises InputError for one that cannot be built."""
        for repo in canaries:
            cloned(repo)
        ways = Ways(
            prime=self.prime.versions,
            member=self.member.binder.versions,
            reasons=self.reasons,
            build=lambda image, repo: build(self.member, image, repo),
            upgrade=self.upgrade,
            launch=self.launch,
            back=self.back,
        )
        return Follower(self.opened.spec.name, canaries, ways, self.report)

    def reasons(self) -> tuple[str, ...]:
        """Why the redirector leaves the node out, its versions being the prime's; being full is no reason here."""
        own = member_at("member", self.member.binder.base_url, 1)
        prime = member_at("prime", self.prime.base_url, 1, prime=True)
        federation = Federation((own, prime), replace(CHART, headroom=0))
        [checked] = ask.check(federation, [own.name], way=self.member.way)
        return checked.verdict.reasons

    def upgrade(self, versions: Versions) -> None:
        """Pin what the prime runs, and make the release so. Raises LockedError while another run is at the node."""
        self._before = []
        image = follow.build_image(versions)
        with self._alone():
            refuse_other_changes(self._now(), self.sources, self.report)
            text = follow.pins_text(image, self._chart(str(versions.get("binderhub", ""))))
            before = read(self.pins) if self.pins.exists() else None
            self._before = [before]
            self._write(merged(before, text) if before else text)
            release(self.opened, self.sources, quiet(self.report))

    def back(self) -> None:
        """The pins and the release as before the upgrade."""
        for text in self._before:
            with self._alone():
                if text is None:
                    self.pins.unlink(missing_ok=True)
                else:
                    self._write(text)
                release(self.opened, self.sources, quiet(self.report))
        self._before = []

    def _alone(self) -> AbstractContextManager[None]:
        return locked(self.opened.runtime, self.opened.spec.name, "follow")

    def launch(self, repo: str) -> Outcome:
        """A canary launched as a user would, with a kernel that answers."""
        began = time.monotonic()
        done = launch(self.opened, repo, "HEAD", quiet(self.report), code="print(6 * 7)")
        why = (done.message or done.output or "it failed and said nothing").strip()
        return Outcome(why if done.failed or done.output != "42\n" else "", time.monotonic() - began)

    def _write(self, text: str) -> None:
        files.replace(self.pins, text.encode(), 0o644)

    def _now(self) -> Opened:
        return open_spec(str(self.opened.inventory), self.opened.pins.overlay)

    def _chart(self, version: str) -> Chart | None:
        """The chart of the prime's BinderHub; None where the pinned one is it, or the node runs it already."""
        pinned = self._now().pins.entries["binderhub-chart"]
        running = str(self.member.binder.versions().get("binderhub", ""))
        if version == running or follow.same_commit(pinned.version, version):
            return self._pinned_chart()
        release_pin = pinned.release.get("any")
        if release_pin is None:
            right = "name the chart in the node's own pins, and run `up`"
            raise StepError(self.opened.spec.name, f"find the chart of BinderHub {version}", "it is a file here", right)
        repository = release_pin.url.rsplit("/", 1)[0]
        return found_chart(repository, version)

    def _pinned_chart(self) -> Chart | None:
        """The chart that the node's own pins name: it stays pinned."""
        if not self.pins.exists():
            return None
        from binder_node.artifacts.pins import load_pins

        pinned = load_pins(None, self.pins).entries["binderhub-chart"]
        own = pinned.release.get("any")
        if own is None or "binderhub-chart" not in read(self.pins):
            return None
        return Chart(pinned.version, own.url, own.sha256 or "")


def found_chart(repository: str, version: str) -> Chart:
    """BinderHub's chart of ``version`` in the Helm repository at that URL. Raises StepError where it is not."""
    what = f"find the chart of BinderHub {version}"
    with Binder(repository) as asked:
        answer = asked.request("GET", f"{repository}/index.yaml", what, follow_redirects=True)
        found = follow.chart_of(answer.text, repository, version) if answer.status_code == 200 else None
    if found is None or not found.digest:
        reason = told(answer) if answer.status_code != 200 else f"{repository}/index.yaml has none"
        raise StepError("here", what, reason, "is it published yet? it comes minutes after the image")
    return found


def cloned(repo: str) -> tuple[str, str]:
    """URL and ref that a build clones. Raises InputError for a repository that cannot be a canary.

    >>> cloned("gh/binder-examples/requirements"), cloned("http://198.18.0.10/minimal.git")
    (('https://github.com/binder-examples/requirements', 'HEAD'), ('http://198.18.0.10/minimal.git', 'HEAD'))
    """
    provider, _, rest = parse_repo(repo).partition("/")
    if provider == "gh":
        org, name, ref = rest.split("/", 2)
        return f"{HOSTS[provider]}/{org}/{name}", ref
    if provider in ("gl", "git"):
        where, _, ref = rest.partition("/")
        url = unquote(where)
        return (url if provider == "git" else f"{HOSTS[provider]}/{url}"), unquote(ref)
    raise InputError(
        Problem("", 0, "--canary", f"{repo} cannot be cloned with git", "name a gh/, gl/ or git repository")
    )


def build(member: Reached, image: str, repo: str, seconds: float = BUILD_SECONDS) -> Outcome:
    """Build ``repo`` on ``image`` on the node, beside its running release: by BinderHub's own executor, in its pod.

    Raises:
        StepError: BinderHub's pod does not answer.
        DeadlineError: it took longer than it may.
    """
    url, ref = cloned(repo)
    mark = hashlib.sha256(f"{url} {ref}".encode()).hexdigest()[:10]
    question = {
        "config": CONFIG,
        "image": image,
        "url": url,
        "ref": ref,
        "name": f"{PREFIX}{mark}:{TAG}",
        "pod": f"build-canary-{mark}-{int(time.time()):x}",
        "seconds": seconds,
        "patience": PATIENCE,
    }
    script = (resources.files("binder_node.federation.on_binder") / "canary.py").read_text("utf-8")
    command = (
        f"{sudo(member.access)}k3s kubectl exec -i -n {NAMESPACE} deployment/binder -- "
        f"python3 - {shlex.quote(json.dumps(question))}"
    )
    done = remote.run(member.access, command, timeout=seconds + 60, input=script, check=False)
    rows = [row for row in done.stdout.splitlines() if row.startswith(ANSWER)]
    if not rows:
        reason = (done.stderr or done.stdout).strip()[-2000:] or f"exit code {done.code}"
        raise StepError(member.access.name, f"build {urlsplit(url).path.strip('/')}", reason, "is BinderHub up?")
    answer = json.loads(rows[-1].removeprefix(ANSWER))
    return Outcome(str(answer["why"]).strip(), float(answer["seconds"]))
