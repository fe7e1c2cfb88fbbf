"""Layer ``shutdown``: a server that is stopped is gone, and nothing of it counts any more."""

from __future__ import annotations

from binder_node.smoke.checks import check
from binder_node.smoke.trial import Trial


@check(
    "shutdown.server",
    "a server that is stopped goes, with its pod",
    needs="pipeline.relaunch",
    guide=3,
    deep=True,
)
def test_server(trial: Trial) -> None:
    assert trial.second is not None
    trial.stop(trial.second)
    trial.await_gone(trial.second)
