"""Lists of quoted words in files that are not YAML (Python, Terraform, JavaScript), changed as text. Pure."""

from __future__ import annotations

from dataclasses import dataclass

CLOSING = {"{": "}", "[": "]", "(": ")"}


@dataclass(frozen=True, slots=True)
class Word:
    """A quoted word: its text, and where it stands, quotes included."""

    text: str
    start: int
    end: int


def words(text: str, opening: str) -> list[Word] | None:
    """The words between ``opening``, which ends with a bracket, and the bracket that closes it; None where there is
    no such list, more than one, or anything else than words in it.

    >>> [word.text for word in words('X = {"a", # not "b"\\n "c"}', "X = {") or []]
    ['a', 'c']
    """
    if text.count(opening) != 1:
        return None
    at = text.index(opening) + len(opening)
    found: list[Word] = []
    while at < len(text):
        char = text[at]
        if char == CLOSING[opening[-1]]:
            return found
        if char == "#" or text.startswith("//", at):
            at = _line_end(text, at)
        elif char in "\"'":
            end = text.find(char, at + 1)
            if end < 0:
                return None
            found.append(Word(text[at + 1 : end], at, end + 1))
            at = end + 1
        elif char.isspace() or char == ",":
            at += 1
        else:
            return None
    return None


def put(text: str, opening: str, word: str) -> str | None:
    """``text`` with ``word`` at the list's end, as the others are written; None where there is no list with words."""
    there = words(text, opening)
    if not there:
        return None
    if any(known.text == word for known in there):
        return text
    last = there[-1]
    quote = text[last.start]
    if not _alone(text, last):
        return f"{text[: last.end]}, {quote}{word}{quote}{text[last.end :]}"
    end, start = _line_end(text, last.end), _line_start(text, last.start)
    comma = "" if text[last.end : end].lstrip().startswith(",") else ","
    newline = "\r\n" if text[:end].endswith("\r\n") else "\n"
    row = f"{text[start : last.start]}{quote}{word}{quote}{'' if comma else ','}{newline}"
    return f"{text[: last.end]}{comma}{text[last.end : end]}{row}{text[end:]}"


def without(text: str, opening: str, word: str) -> str | None:
    """``text`` without ``word``, as it is where it has none; None where there is no such list."""
    there = words(text, opening)
    if there is None:
        return None
    number = next((index for index, known in enumerate(there) if known.text == word), None)
    if number is None:
        return text
    one = there[number]
    if not _alone(text, one):
        if number > 0:
            return text[: there[number - 1].end] + text[one.end :]
        return text[: one.start] + text[there[1].start if len(there) > 1 else one.end :]
    start, end = _line_start(text, one.start), _line_end(text, one.end)
    if number == len(there) - 1 > 0 and "," not in text[one.end : end]:
        # The last one had no comma: the new last one has none.
        before = there[number - 1].end
        return text[:before] + text[before:start].replace(",", "", 1) + text[end:]
    return text[:start] + text[end:]


def _alone(text: str, word: Word) -> bool:
    """Whether nothing but a comma and a remark is in the word's line."""
    row = text[word.end : _line_end(text, word.end)].lstrip(" ,").rstrip()
    return not text[_line_start(text, word.start) : word.start].strip() and (not row or row.startswith(("#", "//")))


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1
