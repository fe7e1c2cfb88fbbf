"""A machine as plain files and one shell script: what it takes to make it without this toolkit. Pure.

The script does what :mod:`binder_node.host.operations` does, in its order, with nothing but coreutils, apt and systemd.
It can be run again: what is right stays, units restart.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from binder_node.host.observe import MANIFEST, manifest_of
from binder_node.host.wanted import Block, Component, File, Unit, Upload, Wait, Wanted
from binder_node.layout import MARKERS, STORE

# Below the folder that the script lies in.
TREE, BLOCKS, ARTIFACTS = "files", "blocks", "artifacts"


@dataclass(frozen=True, slots=True)
class Plain:
    """``files``: contents and modes by relative path; ``artifacts``: what is to be copied beside them, by its name."""

    files: Mapping[str, tuple[bytes, int]]
    artifacts: Mapping[str, Upload]


def plain(wanted: Wanted) -> Plain:
    """``host.sh``, the files in it, and lines for files that others own.

    A data disk is not made: the script says which it needs, and stops without it.
    """
    files: dict[str, tuple[bytes, int]] = {}
    artifacts: dict[str, Upload] = {}
    lines = [_HEAD.format(node=wanted.node, store=STORE, begin=MARKERS[0], end=MARKERS[1])]
    for component in wanted.components:
        for file in component.all_files():
            # Modes are the script's to give; the copy here is for root, or whoever ejected it, alone.
            files[f"{TREE}{file.path}"] = (file.content, 0o600)
        for upload in component.uploads:
            artifacts[upload.path.rpartition("/")[2]] = upload
        for block in component.blocks:
            files[_block_file(block)] = (("\n".join(block.lines) + "\n").encode(), 0o600)
        lines += ["", f"say {component.name}", *_component(component)]
    manifest = File(MANIFEST, manifest_of(wanted))
    files[f"{TREE}{MANIFEST}"] = (manifest.content, 0o600)
    lines += ["", "say units", *_units(wanted), "", _file(manifest), "", "say done"]
    files["host.sh"] = (("\n".join(lines) + "\n").encode(), 0o700)
    return Plain(files, artifacts)


_HEAD = """\
#!/bin/sh
# Makes this machine the host of node {node}: run it as root, in the folder that it came in. It can be run again.
set -eu
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || {{ echo "run it as root" >&2; exit 1; }}

say() {{ echo "== $*"; }}
user() {{
    id -u "$1" >/dev/null 2>&1 ||
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin -- "$1"
}}
package() {{
    dpkg-query -W -f '${{Status}}' "$1" 2>/dev/null | grep -q ' installed$' && return
    [ -n "${{updated:-}}" ] || apt-get update -q
    updated=yes
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$1"
}}
# folder MODE OWNER GROUP PATH
folder() {{ install -d -m "$1" -o "$2" -g "$3" "$4"; }}
# file MODE OWNER GROUP PATH: by a rename, so that nobody reads half of it
file() {{
    mkdir -p "$(dirname "$4")"
    cmp -s "files$4" "$4" && [ "$(stat -c '%a %U %G' "$4")" = "$(printf '%o' "0$1") $2 $3" ] && return
    install -m "$1" -o "$2" -g "$3" -T "files$4" "$4.new"
    mv -fT "$4.new" "$4"
}}
# stored MODE NAME: a binary or an archive of images, under its digest
stored() {{
    mkdir -p {store}
    cmp -s "artifacts/$2" "{store}/$2" || install -m "$1" -T "artifacts/$2" "{store}/$2"
}}
# copy SOURCE PATH
copy() {{ cmp -s "$1" "$2" && [ ! "$1" -nt "$2" ] && [ ! "$2" -nt "$1" ] || cp -p "$1" "$2"; }}
# link TARGET PATH
link() {{ mkdir -p "$(dirname "$2")"; ln -sfnT "$1" "$2"; }}
# block LINES PATH [USER]: these lines between two markers, the rest of the file as it is
block() {{
    if [ -n "${{3:-}}" ]; then
        [ -d "$(dirname "$2")" ] || install -d -m 700 -o "$3" -g "$(id -g "$3")" "$(dirname "$2")"
        [ -e "$2" ] || install -m 600 -o "$3" -g "$(id -g "$3")" /dev/null "$2"
    fi
    [ -e "$2" ] || install -m 644 /dev/null "$2"
    awk -v begin='{begin}' -v end='{end}' \\
        '$0 == begin {{ ours = 1 }} !ours {{ print }} $0 == end {{ ours = 0 }}' "$2" >"$2.new"
    {{ echo '{begin}'; cat "$1"; echo '{end}'; }} >>"$2.new"
    if cmp -s "$2.new" "$2"; then rm "$2.new"; else cat "$2.new" >"$2"; rm "$2.new"; fi
}}
# wait_for SECONDS WHAT COMMAND...
wait_for() {{
    left=$(($1 * 2)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || {{ echo "$what does not come up: see journalctl -u $what" >&2; exit 1; }}
        sleep 0.5
    done
}}"""


def _block_file(block: Block) -> str:
    return f"{BLOCKS}/{block.path.strip('/').replace('~', '').replace('/', '-')}"


def _component(component: Component) -> Iterator[str]:
    """What :func:`binder_node.host.on_node.make.main` does, in its order."""
    quoted = shlex.quote
    yield from (f"package {quoted(name)}" for name in component.packages)
    yield from (f"user {quoted(user.name)}" for user in component.users)
    if (disk := component.disk) is not None:
        name = "an empty disk" if disk.said == "auto" else disk.said
        yield f"blkid -U {disk.uuid} >/dev/null || {{"
        yield f"    echo 'make a filesystem on {name} first: mkfs.xfs -m uuid={disk.uuid} DEVICE' >&2; exit 1; }}"
    for upload in component.uploads:
        yield f"stored {upload.mode:o} {quoted(upload.path.rpartition('/')[2])}"
    for folder in component.folders:
        yield f"folder {folder.mode:o} {folder.owner} {folder.group} {quoted(folder.path)}"
    yield from (f"copy {quoted(copy.source)} {quoted(copy.path)}" for copy in component.copies)
    yield from (_file(file) for file in component.all_files())
    yield from (f"link {quoted(link.target)} {quoted(link.path)}" for link in component.links)
    for block in component.blocks:
        yield f"block {quoted(_block_file(block))} {_home(block.path)}"
    if disk is not None:
        yield f"systemctl daemon-reload && systemctl start {' '.join(shlex.quote(u.name) for u in component.units)}"


def _home(path: str) -> str:
    """``~user/...`` for a shell to resolve, and the user; any other path quoted."""
    if path.startswith("~"):
        user, _, rest = path[1:].partition("/")
        return f'"$(getent passwd {shlex.quote(user)} | cut -d: -f6)"/{shlex.quote(rest)} {shlex.quote(user)}'
    return shlex.quote(path)


def _file(file: File) -> str:
    return f"file {file.mode:o} {file.owner} {file.group} {shlex.quote(file.path)}"


def _units(wanted: Wanted) -> Iterator[str]:
    """All at once, as systemd orders them; then each is waited for."""
    units = [unit for component in wanted.components for unit in component.units]
    yield "systemctl daemon-reload"
    for unit in units:
        if unit.instead_of:
            others = " ".join(map(shlex.quote, unit.instead_of))
            yield f"if ! systemctl is-enabled -q {others} 2>/dev/null; then"
            yield f"    systemctl cat {shlex.quote(unit.name)} >/dev/null 2>&1 || package {_package(unit)}"
            yield f"    systemctl enable -q {shlex.quote(unit.name)}"
            if unit.running:
                yield f"    systemctl restart {shlex.quote(unit.name)}"
            yield "fi"
    plain = [unit for unit in units if not unit.instead_of]
    yield f"systemctl enable -q {_names([unit for unit in plain if unit.enabled])}"
    # A mount is not taken from under what uses it.
    yield f"systemctl start {_names([unit for unit in plain if unit.running and not unit.restarts])}"
    yield f"systemctl restart {_names([unit for unit in plain if unit.running and unit.restarts])}"
    for unit in plain:
        for wait in unit.waits:
            yield f"wait_for {unit.deadline:.0f} {shlex.quote(unit.name)} {_asked(wait)}"


def _names(units: list[Unit]) -> str:
    return " ".join(shlex.quote(unit.name) for unit in units)


def _package(unit: Unit) -> str:
    return shlex.quote(unit.name.removesuffix(".service"))


def _asked(wait: Wait) -> str:
    if wait.kind == "tcp":
        return f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{wait.target}'"
    if wait.kind == "command":
        return wait.target
    return f"test -{'S' if wait.kind == 'unix' else 'e'} {shlex.quote(wait.target)}"
