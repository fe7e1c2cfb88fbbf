"""Where tests find the server binaries they run: never the product's own machine paths."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from platformdirs import user_cache_path


def binary(*names: str) -> Path:
    """The first of ``names`` in ``$BINDER_NODE_TEST_BIN`` (default: ``test-bin`` in the user's cache) or the PATH.

    Skips the test, saying what is missing, when there is none.
    """
    folder = Path(os.environ.get("BINDER_NODE_TEST_BIN") or user_cache_path("binder-node") / "test-bin")
    for name in names:
        if os.access(folder / name, os.X_OK):
            return folder / name
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    pytest.skip(f"needs {names[0]} in {folder} (BINDER_NODE_TEST_BIN) or in the PATH")
