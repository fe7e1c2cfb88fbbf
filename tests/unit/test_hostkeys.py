"""Fingerprints as OpenSSH's, and the file of confirmed keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from binder_node import hostkeys
from binder_node.secrets.generate import generate

ED, OTHER = (" ".join(generate().host_key_public.split()[:2]) for _ in range(2))


def test_a_fingerprint_is_what_ssh_keygen_says(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        file = tmp_path / kind
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)
        said = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
        assert hostkeys.fingerprint((tmp_path / f"{kind}.pub").read_text()) == said.split()[1]


def test_what_is_no_key_has_no_fingerprint() -> None:
    with pytest.raises(ValueError, match="is no public key"):
        hostkeys.fingerprint("ssh-ed25519 A")


def test_the_strongest_kind_is_shown_first_and_unknown_ones_not_at_all() -> None:
    rsa, ecdsa = "ssh-rsa AAAA", "ecdsa-sha2-nistp256 AAAA"
    assert hostkeys.preferred({rsa, "ssh-dss AAAA", ecdsa, ED}) == [ED, ecdsa, rsa]
    assert hostkeys.matching([rsa, ED], hostkeys.fingerprint(rsa)) == rsa
    assert hostkeys.matching([rsa], hostkeys.fingerprint(ED)) is None


def test_a_key_is_found_by_the_nodes_name_and_replaced_alone() -> None:
    text = hostkeys.put("", "bids-1", "203.0.113.10", 22, ED)
    assert text == f"{hostkeys.HEADER}\nbids-1,203.0.113.10 {ED}\n"
    text = hostkeys.put(text, "bids-2", "203.0.113.11", 2222, OTHER)
    assert text.splitlines()[2] == f"bids-2,[203.0.113.11]:2222 {OTHER}"
    assert (hostkeys.find(text, "bids-1"), hostkeys.find(text, "bids-2")) == (ED, OTHER)
    assert hostkeys.find(text, "bids") is None
    text = hostkeys.put(text + "# mine\n", "bids-1", "203.0.113.10", 22, OTHER)
    assert hostkeys.find(text, "bids-1") == hostkeys.find(text, "bids-2") == OTHER
    assert text.count("bids-1,") == 1
    assert "# mine" in text


def test_openssh_reads_the_file(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(hostkeys.put("", "bids-1", "203.0.113.10", 2222, ED))
    asked = ["ssh-keygen", "-F", "[203.0.113.10]:2222", "-f", str(file)]
    assert ED in subprocess.run(asked, check=True, capture_output=True, text=True).stdout
