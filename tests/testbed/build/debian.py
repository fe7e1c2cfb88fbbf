"""Programs that are not Go: runc (its seccomp is a C library's), iptables and ipset, from the Debian archive."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from binder_node.errors import DeadlineError, StepError

# K3s carries iptables and ipset itself, for machines without. Debian's are not static: their libraries come too.
PACKAGES = (
    "runc", "iptables", "ipset", "libip4tc2", "libip6tc2", "libipset13", "libmnl0", "libnfnetlink0", "libnftnl11",
    "libnetfilter-conntrack3", "libseccomp2", "libxtables12",
)  # fmt: skip
DEADLINE = 300.0  # seconds for the index and some packages: 4 MB here, 70 for a browser
_TABLES = tuple(f"{family}{what}" for family in ("iptables", "ip6tables") for what in ("", "-save", "-restore"))
_WRAPPER = """#!/bin/sh
# Bundled, with its libraries, for machines that have none of their own.
d=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$d/lib XTABLES_LIBDIR=$d/lib/xtables exec "$d/{program}" {arguments}"$@"
"""


def index() -> str:
    """Name, version and SHA-256 of each package as apt would download it now: the key of what :func:`unpack` makes."""
    lines = run(["apt-get", "download", "--print-uris", *PACKAGES], Path.cwd()).splitlines()
    return "\n".join(sorted(" ".join(line.split()[1:]) for line in lines))


def unpack(bin_folder: Path, scratch: Path) -> None:
    """Put runc into ``bin_folder``, and the tables' tools with their libraries into its ``aux``.

    apt checks each package against the archive's signed index.
    """
    downloads, root = scratch / "packages", scratch / "root"
    downloads.mkdir()
    run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", *PACKAGES], downloads)
    for package in sorted(downloads.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(root)], scratch)
    aux = bin_folder / "aux"
    (aux / "lib").mkdir(parents=True)
    shutil.copy(_one(root, "sbin/runc"), bin_folder / "runc")
    shutil.copy(_one(root, "sbin/xtables-nft-multi"), aux / "xtables-nft-multi")
    shutil.copy(_one(root, "sbin/ipset"), aux / "ipset.bin")
    libraries = _one(root, "lib/*/libxtables.so.12").parent
    for library in sorted(libraries.glob("*.so.*")):
        shutil.copy(library, aux / "lib" / library.name, follow_symlinks=False)
    shutil.copytree(libraries / "xtables", aux / "lib" / "xtables")
    for name in _TABLES:
        _script(aux / name, _WRAPPER.format(program="xtables-nft-multi", arguments=f"{name} "))
    _script(aux / "ipset", _WRAPPER.format(program="ipset.bin", arguments=""))


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _one(root: Path, pattern: str) -> Path:
    found = [path for top in ("", "usr/") for path in root.glob(top + pattern)]
    if not found:
        raise StepError("here", "unpack Debian's packages", f"no {pattern} in them", "was a package split or renamed?")
    return found[0]


def unpacked(package: str, folder: Path) -> None:
    """Have ``package`` with what it needs and this machine lacks in ``folder``, unpacked and not installed.

    apt checks what it fetches. Where the folder is there already, nothing is done.
    """
    if folder.exists():
        return
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    downloads = fresh / "packages"
    (downloads / "partial").mkdir(parents=True)
    options = ["-o", "APT::Sandbox::User=root", "-o", f"Dir::Cache::archives={downloads}/"]
    run(["apt-get", *options, "install", "-y", "-q", "--no-install-recommends", "--download-only", package], fresh)
    for file in sorted(downloads.glob("*.deb")):
        run(["dpkg-deb", "-x", str(file), str(fresh)], fresh)
    shutil.rmtree(downloads)
    if folder.exists():  # another process was quicker
        shutil.rmtree(fresh)
    else:
        fresh.rename(folder)


def libraries(folder: Path) -> str:
    """``LD_LIBRARY_PATH`` for programs of an unpacked package."""
    return ":".join(sorted({str(path.parent) for path in folder.rglob("*.so*")}))


def run(argv: list[str], cwd: Path) -> str:
    """What a command of apt or dpkg prints; StepError or DeadlineError where it fails."""
    remedy = "the testbed is made on Debian or Ubuntu, after `apt-get update`"
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except FileNotFoundError as error:
        raise StepError("here", " ".join(argv[:2]), str(error), remedy) from error
    except subprocess.TimeoutExpired as error:
        raise DeadlineError("here", " ".join(argv[:2]), DEADLINE, remedy=remedy) from error
    if done.returncode:
        raise StepError("here", " ".join(argv[:2]), done.stderr, remedy)
    return done.stdout
