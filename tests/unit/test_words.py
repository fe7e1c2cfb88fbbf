"""Lists in one option, and text that was written for a terminal."""

from __future__ import annotations

from binder_node.words import plain, words


def test_words_stand_between_commas_with_or_without_blanks() -> None:
    assert words("k3s, machine.swap,") == ("k3s", "machine.swap")
    assert words(" , ") == words("") == ()


def test_colours_go_and_everything_else_stays() -> None:
    assert plain("\x1b[1m\x1b[31mERR\x1b[0m [acme] 7m\n") == "ERR [acme] 7m\n"
