"""The pytest plugin: options, order, dependants, failures as reason and remedy. Installed with the package.

It does nothing in a run without ``--node``.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from binder_node.smoke import hooks
from binder_node.smoke.checks import MARK, Check, CheckFailed, Result, causes, chosen, elsewhere, ordered
from binder_node.words import words

if TYPE_CHECKING:
    from binder_node.lifecycle.opened import Opened

SUITE = "binder-node-smoke-suite"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("binder-node", "checks of a running node (--pyargs binder_node.smoke)")
    group.addoption("--node", metavar="NODE", help="The node's name (inventories/NODE.yaml) or its inventory.")
    group.addoption("--deep", action="store_true", help="Also the checks that write to the node or launch on it.")
    group.addoption("--only", metavar="NAMES", default="", help="These layers or checks, and what they need: k3s,...")
    said = os.environ.get
    group.addoption(
        "--repository",
        metavar="URL",
        default=said("BINDER_NODE_SMOKE_REPOSITORY", ""),
        help="Git repository of which --deep builds a new branch, as BinderHub clones it.",
    )
    group.addoption(
        "--push-to",
        metavar="URL",
        default=said("BINDER_NODE_SMOKE_PUSH_TO", ""),
        help="Where that branch is pushed, if by another URL.",
    )
    group.addoption("--pins", metavar="FILE", help="A TOML file that replaces or adds pins.")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.node:
        config.pluginmanager.register(Suite(config), SUITE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.node and any(check_of(item) for item in items):
        raise pytest.UsageError("say which node to check: --node NODE")


def check_of(item: pytest.Item) -> Check | None:
    """What a collected test is, if it is a check."""
    found: Check | None = getattr(getattr(item, "function", None), MARK, None)
    return found


class Suite:
    """One run on one node: what was found so far."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.results: dict[str, Result] = {}
        self.opened = _opened(config.option.node, config.option.pins)
        self._under_way: dict[str, Result] = {}

    # --- which, and in which order ---------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Put the checks into their order. Tests that are none come after them, as they were."""
        by_id = {found.id: item for item in items if (found := check_of(item))}
        others = [item for item in items if not check_of(item)]
        only = words(config.option.only)
        try:
            every = ordered([found for item in items if (found := check_of(item))])
        except ValueError as error:
            raise pytest.UsageError(f"the checks cannot be put into order: {error}") from None
        try:
            run = chosen(every, only, deep=config.option.deep)
        except ValueError as error:
            raise pytest.UsageError(f"--only: no such layer or check: {error}") from None
        left_out = [by_id[item.id] for item in every if item not in run]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        items[:] = [*(by_id[item.id] for item in run), *others]
        deep = 0 if config.option.deep else sum(item.deep for item in chosen(every, only, deep=True))
        config.hook.pytest_smoke_planned(checks=run, deep_left_out=deep)

    # --- one check -------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        found = check_of(item)
        if found is None:
            return
        self.config.hook.pytest_smoke_started(check=found)
        item.user_properties += [("check", found.id), ("layer", found.layer), ("about", found.about)]
        if why := elsewhere(found, central=self.opened.spec.central):
            pytest.skip(why)
        if failed := causes(found, self.results):
            self._under_way[found.id] = Result(found, "blocked", because=failed)
            item.user_properties.append(("because", ",".join(failed)))
            pytest.skip(f"not looked at: {', '.join(failed)} failed")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        found = check_of(item)
        if found is None:
            return report
        now = self._under_way.get(found.id, Result(found, "ok"))
        now = replace(now, seconds=round(now.seconds + call.duration, 3))
        if report.failed and call.excinfo is not None:
            now = self._failed(item, report, now, call.excinfo.value)
        elif report.skipped and now.outcome == "ok":
            now = replace(now, outcome="skipped", reason=_skipped(report))
        self._under_way[found.id] = now
        if report.when == "teardown":
            self.results[found.id] = now
            self.config.hook.pytest_smoke_finished(result=now)
        return report

    def _failed(self, item: pytest.Item, report: pytest.TestReport, now: Result, error: BaseException) -> Result:
        """The failure as the report and the result tell it: reason and remedy, or a bug's traceback."""
        deliberate = told(error)
        traceback = "" if deliberate else str(report.longrepr)
        reason, remedy = deliberate or (f"the check itself broke: {error!r}", "tell binder-node's authors, it is a bug")
        if deliberate:
            report.longrepr = f"{now.check.id}: {reason}" + (f"\n-> {remedy}" if remedy else "")
        if now.outcome == "failed":  # and now it could not be tidied up after: both are told
            reason, remedy, traceback = (
                "; ".join(filter(None, pair))
                for pair in ((now.reason, reason), (now.remedy, remedy), (now.traceback, traceback))
            )
        kept = [pair for pair in item.user_properties if pair[0] not in ("reason", "remedy")]
        item.user_properties[:] = report.user_properties[:] = [*kept, ("reason", reason), ("remedy", remedy)]
        return replace(now, outcome="failed", reason=reason, remedy=remedy, traceback=traceback)


def told(error: BaseException) -> tuple[str, str] | None:
    """Reason and remedy of a failure; None where it is no failure of the node's but a bug."""
    from binder_node.errors import BinderNodeError, StepError

    if isinstance(error, CheckFailed):
        return error.reason, error.remedy
    if isinstance(error, StepError):
        return f"{error.step}: {error.reason}", error.remedy
    if isinstance(error, BinderNodeError):
        return str(error), ""
    return None


def _skipped(report: pytest.TestReport) -> str:
    """Why: pytest gives (file, line, ``Skipped: why``)."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _opened(node: str, pins: str | None) -> Opened:
    from binder_node.errors import InputError
    from binder_node.lifecycle.opened import open_spec

    overlay = pins or os.environ.get("BINDER_NODE_PINS")
    try:
        return open_spec(node, Path(overlay) if overlay else None)
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


def suite(config: pytest.Config) -> Suite:
    """The run's own plugin. Raises UsageError in a run without ``--node``."""
    found: Any = config.pluginmanager.get_plugin(SUITE)
    if not isinstance(found, Suite):
        raise pytest.UsageError("say which node to check: --node NODE")
    return found
