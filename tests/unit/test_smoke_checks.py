"""The checks as a whole: their order, what blocks what, which of the field guide's failures they catch."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.smoke.checks import (
    LAYERS,
    NOT_OF_A_CENTRAL_DEPLOY,
    Check,
    CheckFailed,
    Result,
    Trouble,
    catalogue,
    causes,
    chosen,
    elsewhere,
    expect,
    needed,
    ordered,
)
from binder_node.smoke.describe import markdown
from binder_node.smoke.guide import FAILURES

ROOT = Path(__file__).parents[2]
CHECKS = catalogue()
BY_ID = {item.id: item for item in CHECKS}

SSH = Check("machine.ssh", "")
API = Check("k3s.api", "", ("machine.ssh",))
PODS = Check("k3s.pods", "", ("k3s.api",))
WRITE = Check("storage.write", "", ("machine.ssh",), deep=True)
LAUNCH = Check("pipeline.build", "", ("k3s.pods", "storage.write"), deep=True)
FEW = (LAUNCH, PODS, WRITE, API, SSH)


def ids(checks: list[Check]) -> list[str]:
    return [item.id for item in checks]


def test_what_is_needed_comes_first_and_deep_ones_last() -> None:
    assert ids(ordered(FEW)) == ["machine.ssh", "k3s.api", "k3s.pods", "storage.write", "pipeline.build"]
    late = Check("machine.late", "", ("storage.write",))
    assert ids(ordered([late, WRITE, SSH]))[-2:] == ["storage.write", "machine.late"]


@pytest.mark.parametrize(
    "wrong",
    [
        [SSH, SSH],
        [Check("nowhere.a", "")],
        [Check("k3s.a", "", ("k3s.b",)), Check("k3s.b", "", ("k3s.a",))],
    ],
)
def test_what_cannot_be_ordered_is_refused(wrong: list[Check]) -> None:
    with pytest.raises(ValueError):
        ordered(wrong)


def test_a_part_is_run_with_what_it_stands_on() -> None:
    assert ids(chosen(ordered(FEW), ["k3s.pods"], deep=False)) == ["machine.ssh", "k3s.api", "k3s.pods"]
    assert ids(chosen(ordered(FEW), ["pipeline"], deep=True)) == ids(ordered(FEW))
    assert ids(chosen(ordered(FEW), [], deep=False)) == ["machine.ssh", "k3s.api", "k3s.pods"]
    with pytest.raises(ValueError, match="nope"):
        chosen(ordered(FEW), ["k3s", "nope"], deep=False)


def test_dependants_name_the_first_cause_and_not_each_other() -> None:
    results = {"machine.ssh": Result(SSH, "ok"), "k3s.api": Result(API, "failed")}
    assert causes(PODS, results) == ("k3s.api",)
    results["k3s.pods"] = Result(PODS, "blocked", because=("k3s.api",))
    results["storage.write"] = Result(WRITE, "failed")
    assert causes(LAUNCH, results) == ("k3s.api", "storage.write")
    assert causes(API, {"machine.ssh": Result(SSH, "skipped", reason="not here")}) == ()
    assert causes(API, {}) == ()


def test_what_a_central_deploy_brings_is_not_ours_to_check() -> None:
    ours = {item.layer for item in CHECKS if not elsewhere(item, central=True)}
    assert ours == {"machine", "k3s", "storage", "isolation"}
    assert not any(elsewhere(item, central=False) for item in CHECKS)
    assert {item.id for item in CHECKS} | set(LAYERS) >= NOT_OF_A_CENTRAL_DEPLOY


def test_all_troubles_are_told_each_remedy_once() -> None:
    expect(None, None)
    with pytest.raises(CheckFailed) as failed:
        expect(Trouble("a", "mend it"), None, Trouble("b", "mend it"))
    assert (failed.value.reason, failed.value.remedy) == ("a; b", "mend it")


# --- the checks of the package -------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", CHECKS, ids=lambda item: item.id)
def test_a_check_stands_on_checks_that_there_are(item: Check) -> None:
    assert item.layer in LAYERS
    assert set(item.needs) <= set(BY_ID)
    assert item.about
    if item.id != "machine.ssh":
        assert "machine.ssh" in needed(BY_ID, item.id)
    if not item.deep:
        assert not any(BY_ID[need].deep for need in needed(BY_ID, item.id))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: str(failure.number))
def test_every_failure_of_the_field_guide_is_caught_or_answered_otherwise(failure: object) -> None:
    number, otherwise = getattr(failure, "number", 0), getattr(failure, "otherwise", "")
    assert [item.id for item in CHECKS if number in item.guide] or otherwise


def test_checks_claim_no_failure_that_there_is_not() -> None:
    assert [failure.number for failure in FAILURES] == list(range(1, 34))
    assert {number for item in CHECKS for number in item.guide} <= set(range(1, 34))


def test_the_reference_is_what_the_checks_say() -> None:
    page = (ROOT / "docs/reference/smoke.md").read_text(encoding="utf-8")
    assert page == markdown(), "run `python -m binder_node.smoke.describe > docs/reference/smoke.md`"
