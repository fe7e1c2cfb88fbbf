"""Text as people and programs write it. Pure."""

from __future__ import annotations

import re

# How terminals are told of colours (Select Graphic Rendition, ECMA-48).
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def words(text: str) -> tuple[str, ...]:
    """What stands between commas in one option.

    >>> words("k3s, machine.swap,")
    ('k3s', 'machine.swap')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def plain(text: str) -> str:
    """``text`` without colours: many programs write them wherever it goes."""
    return COLOUR.sub("", text)
