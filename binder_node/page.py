"""A page that is one file: its style and its plots are in it, and nothing is loaded from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files


def page(title: str, parts: Iterable[str], *, refresh: float = 0) -> str:
    """The whole page; ``parts`` are HTML. ``refresh``: seconds after which a browser reads it again; 0: never."""
    style = (files("binder_node") / "page.css").read_text(encoding="utf-8")
    again = f'<meta http-equiv="refresh" content="{refresh:g}">' if refresh else ""
    lines = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{again}',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}</style></head>",
        "<body>",
        *parts,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def tiles(numbers: Iterable[tuple[str, str]]) -> str:
    """Numbers that are read first, each with its name."""
    cells = "".join(f"<div><b>{escape(number)}</b>{escape(name)}</div>" for number, name in numbers)
    return f'<div class="tiles">{cells}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML."""
    if not rows:
        return "<p>None.</p>"
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>"
