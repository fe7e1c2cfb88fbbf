"""What a rotation takes: its steps with how long each likely takes and may take, and what two nodes cost so long. Pure.

Money is a share of a month's bill, by the hour that has begun, as clouds bill machines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from binder_node.binder.client import BUILD_SECONDS
from binder_node.federation.drain import Left
from binder_node.providers.offers import HOURS, Bill, money
from binder_node.rotation.steps import Step
from binder_node.spec.model import Spec
from binder_node.spec.public import NoDns

# Seconds, likely and at most. A cloud's server is there after half a minute, and fetches what no bundle brings.
UP = (300.0, 1800.0)
# Of images, some GB each, at what a node pulled in tests of ours: 100 MB/s and more, 20 at slow object stores.
WARM_EACH = (15.0, 120.0)
SMOKE = (120.0, 900.0)
MIRROR = (600.0, 6 * 3600.0)
DRAIN = (30.0, 180.0)
DESTROY = (30.0, 300.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """One step: what happens, how long it likely takes and at most (seconds); ``both``: two machines are paid for."""

    step: Step
    what: str
    likely: float
    most: float
    both: bool = True


@dataclass(frozen=True, slots=True)
class Timeline:
    """``phases`` in their order. ``old`` and ``new`` are the bills of a month, None where nobody knows."""

    phases: tuple[Phase, ...]
    old: Bill | None = None
    new: Bill | None = None

    @property
    def likely(self) -> float:
        """Seconds in all."""
        return math.fsum(phase.likely for phase in self.phases)

    @property
    def most(self) -> float:
        """Seconds in all, when everything takes as long as it may."""
        return math.fsum(phase.most for phase in self.phases)

    def overlap(self, *, most: bool = False) -> float:
        """Seconds for which both machines are there."""
        return math.fsum(phase.most if most else phase.likely for phase in self.phases if phase.both)

    def cost(self, *, most: bool = False) -> Decimal | None:
        """What the second machine costs so long, without VAT; None where its price is not known.

        The dearer of the two: which of them is the second one is a matter of words.
        """
        bills = [bill for bill in (self.old, self.new) if bill is not None]
        if len(bills) < 2:
            return None
        hours = math.ceil(self.overlap(most=most) / 3600)
        return money(max(bill.fixed for bill in bills) / HOURS * hours)


def timeline(
    old: Spec, new: Spec, *, left: Left | None, max_age: float, images: int, mirrored: bool, deep: bool
) -> tuple[Phase, ...]:
    """The phases of a rotation that begins now. ``left`` are the old node's sessions, None where nobody knows them;
    ``max_age`` is the longest that one lasts (seconds, 0: for ever), ``images`` how many are pulled beforehand."""
    ttl = 0 if isinstance(new.dns, NoDns) or isinstance(old.dns, NoDns) else max(old.dns.ttl, new.dns.ttl)
    wait = 0 if isinstance(new.dns, NoDns) else new.dns.wait
    age = max_age or math.inf
    checks = "deep smoke checks" if deep else "smoke checks"
    return tuple(
        _phases(
            [
                (Step.UP, f"bring {new.name} up beside {old.name}", *UP),
                (Step.MIRROR, f"copy {old.name}'s bucket", *MIRROR) if mirrored else None,
                (Step.WARM, f"pull the {images} images launched most", WARM_EACH[0] * images, WARM_EACH[1] * images),
                (Step.SMOKE, f"{checks} on {new.name}", *SMOKE) if deep else (Step.SMOKE, checks, 15.0, 120.0),
                (Step.MOVE, f"names to {new.name}, until all name servers have them", min(30.0, wait), wait),
                (Step.SETTLE, f"until nothing is launched on {old.name} (ttl {ttl} s)", ttl, ttl + BUILD_SECONDS),
                (Step.DRAIN, f"quota 0 on {old.name}", *DRAIN),
                (Step.WAIT, f"the last session on {old.name} ends", left.likely if left else age / 2, age),
                (Step.DESTROY, f"take {old.name} away", *DESTROY),
            ]
        )
    )


def _phases(rows: Iterable[tuple[Step, str, float, float] | None]) -> Iterable[Phase]:
    for row in rows:
        if row is not None:
            yield Phase(*row)


def span(seconds: float) -> str:
    """A time for people.

    >>> span(40), span(1200), span(9000), span(math.inf)
    ('40 s', '20 min', '2.5 h', 'no limit')
    """
    if math.isinf(seconds):
        return "no limit"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
