"""Layer ``shutdown``: a server that is stopped is gone, and nothing of it counts any more."""

from __future__ import annotations

from binder_node.smoke.checks import check
from binder_node.smoke.trial import Trial


@check(
    "shutdown.server",
    "a server that is stopped goes, with its pod",
    # Not what they prove: they need the server while it is there.
    needs="pipeline.relaunch",
    guide=3,
    deep=True,
)
def test_server(trial: Trial) -> None:
    assert trial.second is not None
    trial.end(trial.second)
