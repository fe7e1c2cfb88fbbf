"""What every provider promises, as tests. Subclass :class:`Conformance` beside a provider's own tests.

The subclass gives ``provider``, a fixture: a function that makes the node's provider anew at each call, as a new run
of the command has it, and takes a node's name where it is not the usual one. What it made must be gone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from binder_node.events import Event, silent
from binder_node.providers.base import KEEP, NOTHING, Provider
from tests.integration.stages import up

Make = Callable[..., Provider]


def make(provider: Make) -> list[str]:
    """What ``up`` does for the machine; what it changed."""
    return [change.what for change in up(provider())]


class Conformance:
    """``makes``: the provider makes its machine; it does not for one that exists."""

    makes = True

    def test_nothing_is_like_a_first_look(self, provider: Make) -> None:
        machine = provider()
        nothing = [(change.action, change.what.split(":")[0]) for change in machine.changes(machine.nothing())]
        assert nothing
        assert machine.access(machine.nothing()) is None
        if self.makes:
            looked = provider()
            seen = looked.inspect(silent)
            assert {action for action, _ in nothing} >= {change.action for change in looked.changes(seen)}

    def test_looking_changes_nothing(self, provider: Make) -> None:
        first, second = provider(), provider()
        assert first.changes(first.inspect(silent)) == second.changes(second.inspect(silent))

    def test_it_is_made_once_reached_and_told(self, provider: Make) -> None:
        make(provider)
        machine = provider()
        seen = machine.inspect(silent)
        assert machine.changes(seen) == []
        access = machine.access(seen)
        assert access is not None
        assert access.address == machine.address(seen) != ""
        assert make(provider) == []

    def test_every_change_and_event_is_of_its_stage_and_on_one_line(self, provider: Make) -> None:
        machine, told = provider(), list[Event]()
        seen = machine.inspect(told.append)
        changes = machine.changes(seen)
        if changes:
            machine.apply(seen, told.append)
        assert {change.stage for change in changes} <= {machine.name}
        assert all("\n" not in change.what and "PRIVATE KEY" not in change.diff for change in changes)
        assert {event.stage for event in told} <= {machine.name}
        assert not [event for event in told if "PRIVATE KEY" in str(event)]

    def test_what_goes_is_told_before_and_then_it_is_gone(self, provider: Make) -> None:
        if not self.makes:
            return
        make(provider)
        told = provider().doomed(silent, NOTHING)
        assert told
        assert {change.action for change in told} == {"delete"}
        assert set(provider().doomed(silent, KEEP)) <= set(told)
        assert provider().doomed(silent, NOTHING) == told  # telling takes nothing
        provider().destroy(silent, NOTHING)
        assert provider().doomed(silent, NOTHING) == []
        machine = provider()
        assert machine.access(machine.inspect(silent)) is None

    def test_destroy_of_nothing_and_twice_is_no_error(self, provider: Make) -> None:
        if not self.makes:
            return
        for keep in (NOTHING, KEEP, NOTHING):
            provider().destroy(silent, keep)
        make(provider)
        provider().destroy(silent, KEEP)
        provider().destroy(silent, KEEP)
        provider().destroy(silent, NOTHING)

    def test_what_is_left_over_is_another_nodes(self, provider: Make) -> None:
        before = {(one.kind, one.id) for one in provider("lone-1").leftovers(silent)}
        make(provider)
        mine = {(one.kind, one.id): one for one in provider().leftovers(silent)}
        found = {(one.kind, one.id): one.node for one in provider("lone-1").leftovers(silent)}
        new = {key: node for key, node in found.items() if key not in before}
        assert not new.keys() & mine.keys()
        assert bool(new) is self.makes
        assert "lone-1" not in new.values()

    def test_prices_are_exact(self, provider: Make) -> None:
        machine: Any = provider()
        own = machine.own_offer(silent)
        for offer in [*machine.offers(silent), *([own] if own else [])]:
            assert isinstance(offer.monthly, Decimal)
            assert offer.monthly >= offer.hourly >= 0
            assert offer.memory > 10**9
            assert len(offer.currency) == 3
        tariff = machine.tariff(silent)
        for price in (tariff.address, tariff.volume, tariff.objects):
            assert price is None or isinstance(price, Decimal)
