"""Layer ``kernel``: code in a launched server, and nobody else's."""

from __future__ import annotations

import secrets

from binder_node.smoke import judge_pipeline as judge
from binder_node.smoke.checks import Trouble, check, expect
from binder_node.smoke.trial import Trial


@check("kernel.code", "code runs in the server", needs="pipeline.relaunch", deep=True)
def test_code(trial: Trial) -> None:
    one, other = secrets.randbelow(10**6), secrets.randbelow(10**6)
    ran = trial.run(f"print({one} * {other})")
    expect(judge.code(ran.output, ran.ok, str(one * other)))


@check("kernel.token", "without its token the server serves nobody", needs="pipeline.relaunch", deep=True)
def test_token(trial: Trial) -> None:
    assert trial.second is not None
    answer = trial.binder.request("GET", f"{trial.second.url}api/kernels", "ask a server without its token")
    if answer.is_success:
        expect(Trouble("a server lists its kernels to whoever asks", "are its arguments changed in your values?"))
