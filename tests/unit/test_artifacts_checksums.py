"""Vendors' checksum lists and our own lock file."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.artifacts.checksums import find_digest, read_lock, render_lock
from binder_node.errors import InputError

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (f"{B}  k3s-airgap-images-amd64.tar.zst\n{A}  k3s\n", A),
        (f"{A} *k3s\n", A),
        (f"{A.upper()}  ./dist/k3s\r\n", A),
        (f"# made by hand\n\n{B}  k3s-arm64\n{A}\tk3s\n", A),
        (f"{A}\n", A),
        (f"{B}  k3s-arm64\n", None),
        (f"{A}\n{B}\n", None),
        ("<html>Not Found</html>", None),
        (f"{A[:-1]}  k3s\n", None),
    ],
    ids=["list", "binary mark", "path", "comment", "digest only", "others only", "two bare", "page", "short"],
)
def test_the_digest_of_our_file(text: str, digest: str | None) -> None:
    assert find_digest(text, "k3s") == digest


def test_a_lock_file_reads_back_and_is_sorted(tmp_path: Path) -> None:
    digests = {'https://example.org/b%2B"quoted"': B, "https://example.org/a": A}
    path = tmp_path / "pins.lock"
    path.write_text(render_lock(digests), encoding="utf-8")
    assert read_lock(path) == digests
    assert path.read_text(encoding="utf-8").index("org/a") < path.read_text(encoding="utf-8").index("org/b")


def test_no_lock_file_is_an_empty_one(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "pins.lock") == {}


@pytest.mark.parametrize("text", ["[digests", '[digests]\n"https://example.org/a" = "abc"\n'])
def test_a_damaged_lock_file_is_not_taken_for_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pins.lock"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"pins\.lock"):
        read_lock(path)
