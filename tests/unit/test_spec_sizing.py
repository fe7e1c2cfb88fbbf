"""Sizes, and the defaults computed from them."""

from __future__ import annotations

import copy
import pickle

import pytest

from binder_node.spec import sizing
from binder_node.spec.model import Machine, Spec
from binder_node.spec.public import Names
from binder_node.spec.quantity import Quantity


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("450M", 450_000_000),
        ("2Gi", 2_147_483_648),
        ("1.5G", 1_500_000_000),
        ("0.1T", 100_000_000_000),
        ("12k", 12_000),
        ("1Ki", 1024),
        ("7", 7),
    ],
)
def test_a_size_remembers_how_it_was_written(text: str, size: int) -> None:
    assert Quantity(text) == size
    assert str(Quantity(text)) == text
    assert str(pickle.loads(pickle.dumps(Quantity(text)))) == text
    assert str(copy.deepcopy(Quantity(text))) == text


@pytest.mark.parametrize(
    "text", ["", "G", "1 G", " 1G", "1G\n", "1_000", "1e3", "nan", "inf", "-1G", "+1G", "1GB", "1K", "٣G"]
)
def test_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write a number with a unit, like 450M, 2Gi or 192G"):
        Quantity(text)


@pytest.mark.parametrize(
    ("size", "text"), [(2_000_000_000, "2G"), (1500, "1500"), (12_000, "12k"), (0, "0"), (10**12, "1T")]
)
def test_a_number_is_written_in_its_shortest_exact_form(size: int, text: str) -> None:
    assert str(Quantity(size)) == text


# The federation's members: 192 GB with 336 pods and a quota of 300; the testbed's 12 GB; and beyond the kubelet's end.
@pytest.mark.parametrize(
    ("memory", "cpus", "pods", "quota", "parallelism"),
    [
        ("192G", 48, 336, 300, 8),
        ("64G", 16, 112, 87, 4),
        ("12G", 2, 30, 9, 2),
        ("2G", 1, 30, 1, 2),
        ("1T", 128, 1000, 931, 8),
    ],
)
def test_numbers_of_a_machine(memory: str, cpus: int, pods: int, quota: int, parallelism: int) -> None:
    machine = Machine(cpus=cpus, memory=Quantity(memory), disk=Quantity("400G"))
    found = sizing.defaults(machine, {})
    assert found["kubernetes"]["max_pods"] == pods
    assert found["binderhub"] == {"quota": quota, "build_limit": parallelism}
    assert found["buildkit"]["parallelism"] == parallelism
    assert found["names"] == {}


@pytest.mark.parametrize(
    ("disk", "cache"), [("40G", "12G"), ("960G", "288G"), ("4T", "300G"), ("1Gi", "322M"), ("1M", "1M")]
)
def test_the_cache_is_a_share_of_the_disk(disk: str, cache: str) -> None:
    assert str(sizing.cache(Quantity(disk))) == cache


@pytest.mark.parametrize("disk", [5, 10, 40, 100, 500, 2000])
def test_the_collectors_act_one_after_another_on_every_disk(disk: int) -> None:
    """The full disk is never reached, and the kubelet can always get down to where it stops."""
    free = 100 - sizing.IMAGE_GC_HIGH
    assert sizing.KEEP_FREE > free > sizing.WAIT_BELOW > sizing.EVICT_BELOW
    share = 100 * sizing.cache(disk * 10**9) / (disk * 10**9)
    assert share + 30 <= sizing.IMAGE_GC_LOW


def test_a_dearer_session_means_fewer() -> None:
    machine = Machine(cpus=48, memory=Quantity("192G"), disk=Quantity("960G"))
    assert sizing.defaults(machine, {}, guarantee=10**9)["binderhub"]["quota"] == 157


def test_every_computed_default_has_its_rule_in_words() -> None:
    machine = Machine(cpus=4, memory=Quantity("16G"), disk=Quantity("100G"))
    found = sizing.defaults(machine, {"binder": "a.b"})
    assert {f"{section}.{key}" for section, keys in found.items() for key in keys} == set(sizing.RULES)
    assert found["names"] == {"hub": "hub.a.b", "registry": "registry.a.b"}
    assert set(found["names"]) < set(Names.model_fields)
    assert set(found) < set(Spec.model_fields)


@pytest.mark.parametrize(
    ("disk", "percent"), [("960G", 15), ("80G", 15), ("50G", 16), ("40G", 18), ("20G", 24), ("6G", 24)]
)
def test_a_build_waits_while_there_is_no_room_for_it(disk: str, percent: int) -> None:
    assert sizing.wait_below(int(Quantity(disk))) == percent
    assert sizing.EVICT_BELOW < percent < 100 - sizing.IMAGE_GC_HIGH
