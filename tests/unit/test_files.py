"""Files that several runs share: whole or not at all, one writer at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from binder_node import files
from binder_node.errors import DeadlineError


def test_a_file_is_replaced_with_its_mode_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("old")
    files.replace(tmp_path / "key", b"new")
    assert (tmp_path / "key").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    files.replace(tmp_path / "known", b"", 0o644)
    assert stat.S_IMODE((tmp_path / "known").stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "known"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        files.replace(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_one_process_at_a_time_and_the_wait_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.05)
    with files.alone(tmp_path), pytest.raises(DeadlineError, match="another process to leave"), files.alone(tmp_path):
        pass
    with files.alone(tmp_path):
        assert list(tmp_path.iterdir()) == []
