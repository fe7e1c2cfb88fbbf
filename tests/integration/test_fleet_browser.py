"""The page of several nodes in a real browser: Debian's headless Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.fleet import report
from tests.integration.test_load_browser import pixels
from tests.testbed import browser
from tests.unit.fleet_samples import away, look

pytestmark = pytest.mark.integration
WIDTH, HEIGHT = 1040, 1900
LOOKS = [
    one
    for minute in range(0, 120, 5)
    for one in (
        look("bids", minute, pods=20 + minute // 2, changes={"host": 1 if minute > 90 else 0}),
        away("gesis", minute) if minute < 60 else look("gesis", minute, inside=False, reasons=("</script> & more",)),
    )
]


def test_it_is_read_as_it_was_written_and_seen(tmp_path: Path) -> None:
    page, picture = tmp_path / "nodes.html", tmp_path / "nodes.png"
    page.write_text(report.html(LOOKS))
    shown = browser.rendered(page)
    assert shown.count("<svg ") == page.read_text().count("<svg ") == 2
    assert "out: &lt;/script&gt; &amp; more" in shown
    browser.shot(page, picture, WIDTH, HEIGHT)
    size, colours = pixels(picture)
    assert size == (WIDTH, HEIGHT)
    # The strips of states: well, changes wanted, not all seen, out.
    for colour in ((0x00, 0x9E, 0x73), (0xE6, 0x9F, 0x00), (0x77, 0x77, 0x77), (0xD5, 0x5E, 0x00)):
        near = (
            count for seen, count in colours.items() if all(abs(a - b) <= 8 for a, b in zip(seen, colour, strict=True))
        )
        assert sum(near) > 1000, colour
