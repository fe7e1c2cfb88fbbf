"""What a node was made of, what is pinned, and what is kept for now."""

from __future__ import annotations

import tomllib
from pathlib import Path

from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import FilePin, Pin, Pins, PinsFile, load_pins, parse_pins
from binder_node.upgrades.components import (
    COMPONENTS,
    TURN,
    edited,
    failed,
    held_in,
    kept,
    lasting,
    merged,
    moves,
    record_of,
    same,
    sealed,
    unheld,
    with_chart,
)
from binder_node.upgrades.releases import turned

PINS = load_pins()
NODE = [name for item in COMPONENTS for name in item.pins]


def artifacts(names: list[str]) -> dict[str, Artifact]:
    return {name: Artifact(name, "v", Path(name), "a" * 64, 1) for name in names}


def read(text: str) -> PinsFile:
    return parse_pins(tomllib.loads(text), Path("pins.toml"))


def newer(**versions: str) -> Pins:
    """The pins with other versions of these."""
    entries = {name: turned(PINS.entries[name], version) for name, version in versions.items()}
    return Pins({**PINS.entries, **entries}, PINS.images, PINS.lock)


RECORD = read(record_of(PINS, artifacts(NODE)))


def names(pins: Pins, record: PinsFile = RECORD) -> list[str]:
    return [move.component.name for move in moves(record, pins.entries, pins.images)]


def test_what_the_node_keeps_reads_back_as_the_pins_that_made_it() -> None:
    assert RECORD.entries == {name: PINS.entries[name] for name in NODE}
    assert RECORD.images == PINS.images
    assert names(PINS) == []


def test_what_is_pinned_otherwise_moves_from_the_bottom_up() -> None:
    pins = newer(k3s="v1.35.9+k3s1", registry="v3.1.3", buildkitd="v0.34.0")
    found = moves(RECORD, pins.entries, pins.images)
    assert [(move.component.name, move.old, move.new) for move in found] == [
        ("registry", "v3.1.2", "v3.1.3"),
        ("buildkit", "v0.33.1", "v0.34.0"),
        ("k3s", "v1.35.8+k3s1", "v1.35.9+k3s1"),
    ]


def test_a_part_of_a_component_moves_it_and_so_does_the_build_image_the_chart() -> None:
    assert names(newer(**{"cni-bridge": "v1.9.2"})) == ["buildkit"]
    assert names(Pins(PINS.entries, {"build": "quay.io/other:1"}, PINS.lock)) == ["chart"]


def test_another_order_of_sources_or_place_of_a_file_is_no_move() -> None:
    pin = PINS.entries["registry"]
    assert same(pin, pin.model_copy(update={"sources": ("module",), "held": "it waits"}))
    one, other = (Pin(version="v1", file=FilePin(path=Path(path), sha256="b" * 64)) for path in ("/a/k3s", "/b/k3s"))
    assert same(one, other)
    assert not same(one, Pin(version="v1", file=FilePin(path=Path("/a/k3s"), sha256="c" * 64)))


def test_a_file_of_the_operators_is_known_by_what_lies_there() -> None:
    pins = Pins({"k3s": Pin(version="v1", file=FilePin(path=Path("/a/k3s")))}, {}, Path("lock"))
    record = read(record_of(pins, artifacts(["k3s"])))
    assert record.entries["k3s"].file == FilePin(path=Path("/a/k3s"), sha256="a" * 64)
    assert moves(record, sealed(pins.entries, artifacts(["k3s"])), {}) == []


def test_what_the_node_was_made_without_is_no_move() -> None:
    assert names(newer(registry="v3.1.3"), PinsFile(entries={})) == []


def test_what_is_held_reads_back_over_all_other_pins(tmp_path: Path) -> None:
    overlay, own, held = tmp_path / "over.toml", tmp_path / "bids.pins.toml", tmp_path / "bids.held.toml"
    overlay.write_text('sources = ["module"]\n')
    own.write_text('[registry]\nversion = "v4"\nfile = {path = "registry"}\n')
    held.write_text(kept(RECORD, {"registry": failed("v4", "registry.version:\n it is v5"), "chart": TURN}))
    pins = load_pins(overlay, own, held)
    assert pins.entries["registry"].version == "v3.1.2"
    assert held_in(pins.entries) == {"registry": "v4 failed: registry.version: it is v5", "chart": TURN}
    assert held.read_text().startswith("# Versions that this node keeps for now; written by `binder-node upgrade`")
    assert kept(RECORD, {}) == ""
    assert load_pins(overlay, own).entries["registry"].version == "v4"


def test_what_failed_stays_held_until_another_version_is_pinned(tmp_path: Path) -> None:
    held = tmp_path / "bids.held.toml"
    held.write_text(kept(RECORD, {"registry": failed("v3.1.3", "it does not start"), "buildkit": TURN}))
    pins, now = newer(registry="v3.1.3", buildkitd="v0.34.0"), load_pins(None, None, held)
    assert lasting(held_in(now.entries), pins.entries) == {"registry": "v3.1.3 failed: it does not start"}
    assert names(unheld(pins, now, [])) == ["buildkit"]
    assert names(unheld(pins, now, ["registry"])) == ["registry", "buildkit"]
    assert names(unheld(newer(registry="v3.1.4"), now, [])) == ["registry"]


def test_a_log_in_the_reason_is_cut_to_a_line_and_the_version_stays() -> None:
    why = failed("v1.35.9+k3s1", "bids: start k3s.service: Job failed\n" + "this is no K3s\n" * 100)
    assert why.startswith("v1.35.9+k3s1 failed: bids: start k3s.service: Job failed this is no K3s this ")
    assert why.endswith(" ...")
    assert len(why) <= 300


def test_a_held_chart_keeps_its_build_image(tmp_path: Path) -> None:
    held = tmp_path / "bids.held.toml"
    held.write_text(kept(RECORD, {"chart": failed(RECORD.entries["binderhub-chart"].version, "no hub")}))
    pins = Pins(PINS.entries, {"build": "quay.io/other:1"}, PINS.lock)
    assert unheld(pins, load_pins(None, None, held), []).images == PINS.images


def test_a_release_made_alone_changes_the_chart_in_what_the_node_keeps_and_nothing_else() -> None:
    pins = newer(registry="v3.1.3", **{"binderhub-chart": "1.0.0-0.dev.git.4000.h0123abcd"})
    found = read(with_chart(RECORD, pins, artifacts(["binderhub-chart"])))
    assert found.entries["binderhub-chart"].version == "1.0.0-0.dev.git.4000.h0123abcd"
    assert found.entries["registry"] == RECORD.entries["registry"]
    assert with_chart(RECORD, PINS, artifacts(NODE)) == record_of(PINS, artifacts(NODE))


def test_a_pins_file_keeps_its_other_tables_when_one_is_replaced() -> None:
    head, other = '# ours\n[images]\nbuild = "x"\n\n[k3s] # why\n', '\n[other]\nversion="2"\n'
    text = f'{head}version = "v1"\n[k3s.file]\npath = "k3s"\n{other}'
    changed = edited(text, {"k3s": turned(PINS.entries["k3s"], "v1.35.9+k3s1")})
    assert changed.startswith(f'{head}version = "v1.35.9+k3s1"\n')
    assert changed.endswith(other)
    found = tomllib.loads(changed)
    assert set(found) == {"images", "k3s", "other"}
    assert set(found["k3s"]) == {"version", "release"}
    assert edited(changed, {"k3s": turned(PINS.entries["k3s"], "v1.35.9+k3s1")}) == changed


def test_following_the_prime_leaves_a_nodes_other_pins() -> None:
    text = '[images]\nbuild = "r2d:1"\nother = "x:1"\n\n[registry]\nversion = "v4"\nfile = {path = "registry"}\n'
    new = '# head\n[images]\nbuild = "r2d:2"\n\n[binderhub-chart]\nversion = "2"\n'
    found = tomllib.loads(merged(text, new))
    assert found["images"] == {"build": "r2d:2", "other": "x:1"}
    assert found["registry"]["version"] == "v4"
    assert found["binderhub-chart"] == {"version": "2"}
