"""A real browser for tests: Debian's headless Chromium, unpacked and not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.testbed.build.debian import libraries, unpacked

OUT = Path(__file__).parents[3] / "build" / "testbed" / "browser"
PACKAGE = "chromium-headless-shell"
SECONDS = 120.0
# No sandbox: it wants a user that is not root. No GPU, no network: a page is a file here.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--no-first-run",
)


def browser() -> tuple[Path, dict[str, str]]:
    """Its binary and the environment that it runs in."""
    installed = shutil.which(PACKAGE) or shutil.which("chromium")
    if installed:
        return Path(installed), dict(os.environ)
    unpacked(PACKAGE, OUT)
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries(OUT)}
    return OUT / "usr/lib/chromium" / PACKAGE, environment


def run(page: Path, *flags: str) -> str:
    """Open ``page``; what the browser prints."""
    program, environment = browser()
    argv = [str(program), *FLAGS, *flags, page.absolute().as_uri()]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shot(page: Path, picture: Path, width: int, height: int) -> None:
    """A picture (PNG) of ``page`` as the browser shows it."""
    run(page, f"--screenshot={picture.absolute()}", f"--window-size={width},{height}", "--force-device-scale-factor=1")


def rendered(page: Path) -> str:
    """The document as the browser has it after it has read and laid out the page."""
    return run(page, "--dump-dom")
