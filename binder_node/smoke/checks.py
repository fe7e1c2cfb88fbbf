"""What a check is: its id, what it needs, what it stands for; and the order in which checks run. Pure."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

# From the bottom up; a check's id begins with its layer's name.
LAYERS = (
    "machine",
    "k3s",
    "buildkit",
    "storage",
    "registry",
    "binder",
    "pipeline",
    "kernel",
    "isolation",
    "shutdown",
)
# What every name begins with that a deep check makes on a node: images, branches, objects, pods.
RESERVED = "binder-node-smoke"
# What a federation's central deploy brings by its own chart (docs/architecture.md, decision 22): layers and checks of
# what `up` makes nowhere else.
NOT_OF_A_CENTRAL_DEPLOY = frozenset(
    ("buildkit", "registry", "binder", "pipeline", "kernel", "shutdown", "isolation.policies", "isolation.build",
     "isolation.server", "isolation.rights", "k3s.address", "k3s.ingress", "k3s.load-balancers")
)  # fmt: skip
# Where a check function keeps what :func:`check` says of it.
MARK = "smoke_check"

Function = TypeVar("Function", bound=Callable[..., object])
Outcome = Literal["ok", "failed", "blocked", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """``id`` is ``LAYER.NAME``; ``about`` what holds when it is green; ``needs`` ids of checks without which it says
    nothing; ``guide`` numbers of the field guide's failures that it catches; ``deep``: it writes or launches."""

    id: str
    about: str
    needs: tuple[str, ...] = ()
    guide: tuple[int, ...] = ()
    deep: bool = False

    @property
    def layer(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, and what to do about it: one line each."""

    reason: str
    remedy: str


class CheckFailed(AssertionError):
    """How a check tells pytest of its troubles; raised by :func:`expect` and never seen outside of a run."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(f"{reason} -> {remedy}")


@dataclass(frozen=True, slots=True)
class Result:
    """How a check ended. ``because``: of a ``blocked`` one, the ids of the failed checks that it stands on.

    ``reason`` and ``remedy`` are a failed one's; a ``skipped`` one's reason is why it does not apply to this node.
    ``traceback``: of a check that broke by itself.
    """

    check: Check
    outcome: Outcome
    seconds: float = 0.0
    reason: str = ""
    remedy: str = ""
    because: tuple[str, ...] = ()
    traceback: str = ""


def check(
    id: str,
    about: str,
    *,
    needs: str | Sequence[str] = (),
    guide: int | Sequence[int] = (),
    deep: bool = False,
) -> Callable[[Function], Function]:
    """Make a test function a check."""
    found = Check(
        id,
        about,
        (needs,) if isinstance(needs, str) else tuple(needs),
        (guide,) if isinstance(guide, int) else tuple(guide),
        deep,
    )

    def marked(function: Function) -> Function:
        setattr(function, MARK, found)
        return function

    return marked


def expect(*troubles: Trouble | None) -> None:
    """Fail the check when there is any trouble; the reasons of all, each remedy once.

    Raises:
        CheckFailed: there is.
    """
    found = [trouble for trouble in troubles if trouble is not None]
    if found:
        remedies = dict.fromkeys(trouble.remedy for trouble in found)
        raise CheckFailed("; ".join(trouble.reason for trouble in found), "; ".join(remedies))


def catalogue() -> tuple[Check, ...]:
    """Every check of this package, in the order in which they run."""
    import binder_node.smoke as package

    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name.startswith("test_"))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return tuple(
        ordered([getattr(thing, MARK) for module in modules for thing in vars(module).values() if hasattr(thing, MARK)])
    )


def ordered(checks: Sequence[Check]) -> list[Check]:
    """Layer by layer from the bottom up, shallow before deep, as written within; what is needed always comes first.

    Raises:
        ValueError: two have one id, a layer is none, or they need each other in a circle.
    """
    by_id = {item.id: item for item in checks}
    if len(by_id) != len(checks):
        raise ValueError("two checks have the same id")
    if strange := [item.id for item in checks if item.layer not in LAYERS]:
        raise ValueError(f"no layer of that name: {', '.join(strange)}")
    done: dict[str, Check] = {}
    open_: set[str] = set()

    def add(item: Check) -> None:
        if item.id in done:
            return
        if item.id in open_:
            raise ValueError(f"{item.id} needs itself")
        open_.add(item.id)
        for need in item.needs:
            if need in by_id:
                add(by_id[need])
        done[item.id] = item

    # Deep ones last: they change what a node is doing, and what they stand on has been looked at by then.
    for item in sorted(checks, key=lambda item: (item.deep, LAYERS.index(item.layer))):
        add(item)
    return list(done.values())


def chosen(checks: Sequence[Check], only: Iterable[str], *, deep: bool) -> list[Check]:
    """Those to run: all, or those whose layer or id is in ``only`` with what they need; deep ones only if ``deep``.

    Raises:
        ValueError: ``only`` names what there is not; says what.
    """
    by_id = {item.id: item for item in checks}
    wanted = list(only)
    if strange := [name for name in wanted if name not in by_id and name not in {item.layer for item in checks}]:
        raise ValueError(", ".join(strange))
    keep = {item.id for item in checks if not wanted or item.id in wanted or item.layer in wanted}
    keep |= {need for id in keep for need in needed(by_id, id)}
    return [item for item in checks if item.id in keep and (deep or not item.deep)]


def needed(checks: Mapping[str, Check], id: str) -> set[str]:
    """Ids of everything that a check stands on, directly or not."""
    found: set[str] = set()
    left = [id]
    while left:
        for need in checks[left.pop()].needs:
            if need in checks and need not in found:
                found.add(need)
                left.append(need)
    return found


def elsewhere(item: Check, *, central: bool) -> str:
    """Why a check does not apply to a node, empty where it does; ``central``: a federation deploys its release."""
    if central and {item.id, item.layer} & NOT_OF_A_CENTRAL_DEPLOY:
        return "the federation's central deploy brings it (deploy: federation)"
    return ""


def causes(item: Check, results: Mapping[str, Result]) -> tuple[str, ...]:
    """The failed checks for which ``item`` cannot say anything; empty when it can be run."""
    found: dict[str, None] = {}
    for need in item.needs:
        before = results.get(need)
        if before is not None and before.outcome == "failed":
            found[need] = None
        elif before is not None and before.outcome == "blocked":
            found.update(dict.fromkeys(before.because))
    return tuple(found)
