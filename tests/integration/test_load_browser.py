"""A load's report in a real browser: Debian's headless Chromium, which is unpacked the first time (70 MB)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from binder_node.load import report
from tests.testbed import browser
from tests.unit.load_samples import failed, result, visit

pytestmark = pytest.mark.integration
WIDTH, HEIGHT = 1040, 2300
VISITS = (
    *(visit(number, 2.0 + number % 5, at=number / 2) for number in range(40)),
    *(visit(40 + number, 30.0 + number, at=number * 3.0, kind="built", left=50.0) for number in range(5)),
    failed(50),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "load.html"
    file.write_text(report.html(result(*VISITS)))
    return file


def test_the_browser_reads_it_as_it_was_written(page: Path) -> None:
    shown = browser.rendered(page)
    # What a browser had to mend would be in another place, or there twice.
    assert shown.count("<svg ") == page.read_text().count("<svg ") == 4
    assert shown.count("<circle ") == 45
    assert "<h1>Load on bids</h1>" in shown
    assert "pip: no such &lt;package&gt;" in shown


def test_it_is_seen_plots_and_all(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "load.png"
    browser.shot(page, picture, WIDTH, HEIGHT)
    size, colours = pixels(picture)
    assert size == (WIDTH, HEIGHT)
    # The dots of cached and built launches, the bars of users that were done, the cross of the failed one.
    for name, colour, least in (
        ("cached", (0x00, 0x72, 0xB2), 300),
        ("built", (0xE6, 0x9F, 0x00), 50),
        ("done", (0x00, 0x9E, 0x73), 1000),
        ("failed", (0xD5, 0x5E, 0x00), 20),
    ):
        near = (
            count for seen, count in colours.items() if all(abs(a - b) <= 8 for a, b in zip(seen, colour, strict=True))
        )
        assert sum(near) >= least, name


def pixels(file: Path) -> tuple[tuple[int, int], Counter[tuple[int, int, int]]]:
    """A picture's size, and how often each colour is there."""
    with Image.open(file) as picture:
        return picture.size, Counter(picture.convert("RGB").get_flattened_data())  # type: ignore[arg-type]
