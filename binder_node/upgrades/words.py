"""What is offered, in words: for a table, a last line, the description of a change. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from binder_node.upgrades.offers import BEHIND, Row

STATES = {
    "current": "the newest",
    "behind": "behind",
    "hand": "behind, to be pinned by hand",
    "beyond": "the newest within the limits",
    "ahead": "newer than what is told",
    "own": "not looked for",
    "unknown": "not known",
}


def short(version: str) -> str:
    """A container image by its tag; a version as it is."""
    return version.rpartition(":")[2] if "/" in version else version


def sentence(rows: Sequence[Row], file: str, *, written: bool) -> str:
    """The outcome in a line."""
    offered = [f"{row.name} {short(row.pinned)} -> {short(row.offered)}" for row in rows if row.state in BEHIND]
    silent = [row.name for row in rows if row.state == "unknown"]
    parts = [", ".join(offered) or "nothing is behind"]
    if silent:
        parts.append(f"not known: {', '.join(silent)}")
    if written:
        parts.append(f"written to {file}: review and commit it, then `binder-node upgrade NODE`")
    return "; ".join(parts)


def title(rows: Sequence[Row]) -> str:
    """The first line of a change."""
    names = [row.name for row in rows if row.state == "behind"]
    return f"Newer versions: {', '.join(names)}" if names else "No newer versions"


def markdown(rows: Sequence[Row], file: str) -> str:
    """The description of a change of ``file``, its title the first line."""
    lines = [title(rows), ""]
    if behind := [row for row in rows if row.state == "behind"]:
        lines += ["| Component | From | To |", "|---|---|---|"]
        lines += [f"| {row.name} | `{row.pinned}` | `{row.offered}` |" for row in behind]
        lines += ["", "What changed, release by release:", ""]
        for row in behind:
            links = [f"[{short(note.version)}]({note.url})" if note.url else short(note.version) for note in row.notes]
            lines.append(f"- {row.name}: {', '.join(links) or 'nothing is told'}")
    if others := [row for row in rows if row.state in ("hand", "unknown") or (row.why and row.state != "own")]:
        lines += ["", "Not in this change:", ""]
        lines += [f"- {row.name}: {row.why}" for row in others]
    if behind:
        lines += ["", f"Digests in `{file}` are the vendors'. No node moves before `binder-node upgrade NODE`."]
    return "\n".join(lines) + "\n"
