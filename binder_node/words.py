"""Lists as people write them in one option."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """What stands between commas. Pure.

    >>> words("k3s, machine.swap,")
    ('k3s', 'machine.swap')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())
