"""Version numbers of all that is pinned, compared."""

from __future__ import annotations

from itertools import pairwise

import pytest

from binder_node.artifacts.pins import load_pins
from binder_node.upgrades.numbers import Number, read, step


def number(version: str) -> Number:
    found = read(version)
    assert found is not None, version
    return found


def test_everything_that_is_pinned_has_a_number() -> None:
    pins = load_pins()
    versions = [pin.version for pin in pins.entries.values()]
    assert all(read(version) for version in [*versions, pins.images["build"].rpartition(":")[2]])


@pytest.mark.parametrize(
    "in_order",
    [
        ["v0.9.12", "v0.33.1", "v0.33.2", "v0.33.10", "v1.0.0"],
        ["v1.35.8+k3s1", "v1.35.8+k3s2", "v1.35.10+k3s1", "v1.36.0+k3s1"],
        ["1.0.0-0.dev.git.3975.hec21488c", "1.0.0-0.dev.git.3983.h383374de", "1.0.0", "1.0.1-0.dev.git.1.h0000000"],
        ["2025.12.0", "2026.4.1.dev9-g97bb4e45a", "2026.4.1.dev44-g0000000", "2026.4.1", "2026.10.0.dev1-gabcdef0"],
        ["RELEASE.2025-09-07T16-13-09Z", "RELEASE.2025-09-07T16-13-10Z", "RELEASE.2026-01-01T00-00-00Z"],
    ],
)
def test_the_order(in_order: list[str]) -> None:
    assert all(number(older) < number(newer) for older, newer in pairwise(in_order))
    assert len({number(version).family for version in in_order}) == 1


@pytest.mark.parametrize(
    "version",
    ["v1.36.0-rc1+k3s1", "v0.34.0-rc2", "latest", "main", "dockerfile/1.25.0", "0.1.0-fd778a3", "v1.2", "v1.2.3.4", ""],
)
def test_what_is_no_release(version: str) -> None:
    assert read(version) is None


def test_families_are_not_compared() -> None:
    kinds = ["v1.35.8+k3s1", "v1.35.8", "1.35.8", "RELEASE.2025-09-07T16-13-09Z"]
    assert len({number(version).family for version in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("old", "new", "far"),
    [
        ("v3.1.2", "v3.1.3", "patch"),
        ("v3.1.2", "v3.2.0", "minor"),
        ("v3.1.2", "v4.0.0", "major"),
        ("v1.35.8+k3s1", "v1.35.8+k3s2", "patch"),
        ("v1.35.8+k3s1", "v1.36.0+k3s1", "minor"),
        ("1.0.0-0.dev.git.3983.h383374de", "1.0.0-0.dev.git.3990.h0123abcd", "minor"),
        ("1.0.0-0.dev.git.3983.h383374de", "1.0.0", "minor"),
        ("2026.4.1.dev44-g97bb4e45a", "2027.1.0", "minor"),
        ("RELEASE.2025-09-07T16-13-09Z", "RELEASE.2026-01-01T00-00-00Z", "minor"),
    ],
)
def test_how_far_it_is(old: str, new: str, far: str) -> None:
    assert step(number(old), number(new)) == far
