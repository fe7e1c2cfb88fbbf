"""Lists of words in Python, Terraform and JavaScript."""

from __future__ import annotations

import pytest

from binder_node.federation.words import put, without

TEXTS = {
    "lines": 'X = {\n    "a",\n    "b",\n}\n',
    "lines, no last comma": "X = {\n    'a',\n    'b'  # so\n}\n",
    "one line": 'y = 1\nX = {"a", "b"}\n',
    "CRLF": 'X = {\r\n  "a",\r\n  "b",\r\n}\r\n',
    "one word": 'X = {"a"}',
    "remarks": 'X = {  # "no"\n    # "not this"\n    "a",  # "nor this"\n    "b", // "or this"\n}\n',
}


@pytest.mark.parametrize("shape", TEXTS)
def test_a_word_comes_and_goes_and_leaves_no_trace(shape: str) -> None:
    text = TEXTS[shape]
    new = put(text, "X = {", "lab")
    assert new is not None
    assert new != text
    assert "lab" in new
    assert put(new, "X = {", "lab") == new
    assert without(new, "X = {", "lab") == text
    assert without(text, "X = {", "lab") == text


def test_the_first_and_the_middle_go_too() -> None:
    assert without('X = ["a", "b", "c"]', "X = [", "a") == 'X = ["b", "c"]'
    assert without('X = ["a", "b", "c"]', "X = [", "b") == 'X = ["a", "c"]'
    assert without('X = {\n  "a",\n  "b",\n}', "X = {", "a") == 'X = {\n  "b",\n}'


@pytest.mark.parametrize(
    "text", ["", "X = {}", 'X = {"a": 1}', 'X = {"a', 'X = {"a"', 'X = {"a"}\nX = {"b"}', "X = f()"]
)
def test_what_is_no_list_of_words_is_left_alone(text: str) -> None:
    assert put(text, "X = {", "lab") is None
