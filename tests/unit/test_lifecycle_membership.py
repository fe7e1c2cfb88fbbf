"""What a ramp runs outside of itself: the operator's deploy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from binder_node.errors import DeadlineError, InputError, StepError
from binder_node.events import silent
from binder_node.federation.book import Checkout
from binder_node.lifecycle import membership
from binder_node.lifecycle.membership import deployer


@pytest.mark.parametrize("command", ["", "  ", "./deploy.sh 'new"])
def test_what_is_no_command_is_refused_before_anything_is_written(tmp_path: Path, command: str) -> None:
    with pytest.raises(InputError, match="--deploy: "):
        deployer(Checkout(tmp_path, "new"), "bids-1", command, silent)


def deploy(folder: Path, program: str) -> None:
    (folder / "deploy.py").write_text(program)
    deployer(Checkout(folder, "new"), "bids-1", f"{sys.executable} deploy.py", silent)(20)


def test_it_runs_in_the_checkout_and_knows_what_it_is_for(tmp_path: Path) -> None:
    deploy(
        tmp_path,
        "import os; open('seen', 'w').write(os.environ['FEDERATION_MEMBER'] + os.environ['FEDERATION_WEIGHT'])",
    )
    assert (tmp_path / "seen").read_text() == "new20"


def test_its_last_words_are_told_whatever_they_are_written_in(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"bids-1: deploy the checkout by .*: caf\ufffd is closed"):
        deploy(tmp_path, "import sys; sys.stderr.buffer.write(b'caf\\xe9 is closed\\n'); sys.exit(3)")


def test_one_without_an_end_is_a_wait_that_ran_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "DEPLOY_SECONDS", 0.3)
    with pytest.raises(DeadlineError) as late:
        deploy(tmp_path, "import time; time.sleep(60)")
    assert late.value.remedy == "the change is in the checkout"
