"""``destroy`` takes the names first; where it cannot, the machine goes all the same, and that is said at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.errors import StepError
from binder_node.events import Event
from binder_node.lifecycle import verbs
from binder_node.names.stage import NamesStage
from binder_node.node import Node
from tests.unit.host_samples import sample_secrets, sample_spec

NODE = Node(sample_spec(), sample_secrets(), {}, {}, Path("/nowhere"))


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was taken away, in its order."""
    taken: list[str] = []

    class Provider:
        def destroy(self, *_: object) -> None:
            taken.append("machine")

    monkeypatch.setattr(verbs, "provider_for", lambda _: Provider())
    monkeypatch.setattr(NamesStage, "destroy", lambda *_: taken.append("names"))
    return taken


def test_names_go_before_the_machine(gone: list[str]) -> None:
    verbs.destroy(NODE, lambda _: None)
    assert gone == ["names", "machine"]


def test_a_name_server_that_does_not_answer_keeps_no_machine(gone: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise StepError("bids-1", "look at bids.example.org", "no answer")

    monkeypatch.setattr(NamesStage, "destroy", fails)
    told: list[Event] = []
    with pytest.raises(StepError, match="no answer"):
        verbs.destroy(NODE, told.append)
    assert gone == ["machine"]
    assert [event.message for event in told if event.kind == "warn"] == [
        "the records stay for now: bids-1: look at bids.example.org: no answer"
    ]
