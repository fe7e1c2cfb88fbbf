"""The reference of what a node has is the code's own."""

from __future__ import annotations

from pathlib import Path

from binder_node.host.describe import ABOUT, reference
from binder_node.host.logs import UNITS, unit_of
from tests.unit.host_samples import sample_spec, sample_wanted

PAGE = Path(__file__).parents[2] / "docs/reference/host.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == reference(), "run: python -m binder_node.host.describe > docs/reference/host.md"


def test_every_component_is_explained() -> None:
    spec = sample_spec(machine={"data_disk": "auto"}, registry={"cache_days": 7})
    assert list(ABOUT) == [component.name for component in sample_wanted(spec).components]


def test_logs_are_asked_of_units_that_exist() -> None:
    spec = sample_spec(registry={"cache_days": 7}, abuse={"banned_url": "https://example.org/banned.txt"})
    units = {unit.name for component in sample_wanted(spec).components for unit in component.units}
    assert {name for names in UNITS.values() for name in names} <= units
    assert unit_of("registry") == ("registry-push.service", "registry-pull.service")
