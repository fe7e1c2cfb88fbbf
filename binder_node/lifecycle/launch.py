"""``launch``: what a user of the federation does, against one node: build, launch, run code in the server."""

from __future__ import annotations

import contextlib
from typing import Any

from binder_node.binder.client import Binder
from binder_node.binder.kernel import run_code, shutdown
from binder_node.binder.launch import STAGE, Launched, follow
from binder_node.binder.repo import parse_repo
from binder_node.cluster.tls import trust
from binder_node.errors import StepError
from binder_node.events import Event, Reporter, quiet
from binder_node.lifecycle.opened import Opened, open_bare
from binder_node.lifecycle.verbs import url_of
from binder_node.providers import provider_for


def launch(
    opened: Opened, repo: str, ref: str, report: Reporter, *, code: str | None = None, keep: bool = False
) -> Launched:
    """Launch ``repo`` at ``ref`` on the node; with ``code``, run it there; shut the server down unless ``keep``.

    The node's own address is asked, under its public names: a launch works before DNS does.

    Raises:
        InputError: ``repo`` is no repository that BinderHub could know.
        StepError, DeadlineError: BinderHub or the server did not answer as they should.
    """
    path = parse_repo(repo, ref)
    node = open_bare(opened)
    provider = provider_for(node)
    address = provider.address(provider.inspect(quiet(report)))
    result = Launched(repo)
    with Binder(url_of(node), connect_to=address, trust=trust(node.spec)) as binder:
        follow(binder, path, result, report)
        if not result.failed:
            _use(binder, result, code, keep)
    report(Event("failed" if result.failed else "done", STAGE, _sentence(result), _data(result)))
    return result


def _use(binder: Binder, result: Launched, code: str | None, keep: bool) -> None:
    if code is not None:
        try:
            ran = run_code(binder, result.url, result.token, code)
        except StepError:
            if not keep:
                with contextlib.suppress(StepError):  # why the code did not run is what counts
                    shutdown(binder, result.url, result.token)
            raise
        result.output, result.failed = ran.output, not ran.ok
        result.seconds["kernel"] = result.since()
    if not keep:
        shutdown(binder, result.url, result.token)


def _sentence(result: Launched) -> str:
    if result.message or not result.url:
        return f"{result.repo}: {result.message.strip() or 'the stream ended before the server was ready'}"
    took = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in result.seconds.items())
    return f"{result.repo}: {'its code failed' if result.failed else 'launched'} ({took})"


def _data(result: Launched) -> dict[str, Any]:
    return {
        "phase": result.phases[-1] if result.phases else "",
        "phases": result.phases,
        "seconds_by_phase": result.seconds,
        "url": result.url,
        "output": result.output,
        "failed": result.failed,
    }
