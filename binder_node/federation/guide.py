"""The members in the user guide (``jupyterhub/mybinder.org-user-guide``), changed as text. Pure."""

from __future__ import annotations

from ruamel.yaml.nodes import MappingNode, ScalarNode

from binder_node.federation import yamltext
from binder_node.federation.entry import Entry, Unknown
from binder_node.federation.yamltext import Text, word

MEMBERS = "docs/_data/support/federation.yml"
# The table of members in docs/about/status.rst is the one with this in its head.
COLUMN = "JupyterHub API"


def put(text: str, entry: Entry) -> str:
    """The member in the alphabet of its supporters; one that had left is active again. Raises Unknown."""
    source, there = Text(text, MEMBERS), _members(Text(text, MEMBERS))
    urls = [member.get("url_binderhub") for member in there]
    if entry.url in urls:
        number = urls.index(entry.url)
        return yamltext.without_entry(source, (number, "active")).text if "active" in there[number] else text
    if not entry.logo:
        raise Unknown("wants a logo: set federation.logo")
    names = [member.get("funded_by", "").casefold() for member in there]
    at = next((number for number, name in enumerate(names) if name > entry.sponsor.casefold()), None)
    lines = [
        f"- url_binderhub: {word(entry.url)}",
        f"  logo: {word(entry.logo)}",
        f"  funded_by: {word(entry.sponsor)}",
        f"  funded_by_link: {word(entry.sponsor_url)}",
    ]
    return yamltext.put_item(source, (), lines, at).text


def take(text: str, entry: Entry) -> str:
    """The member as one that has left: the guide keeps them, and thanks them. Raises Unknown."""
    source, there = Text(text, MEMBERS), _members(Text(text, MEMBERS))
    urls = [member.get("url_binderhub") for member in there]
    if entry.url not in urls or "active" in there[urls.index(entry.url)]:
        return text
    return yamltext.put_entry(source, (urls.index(entry.url),), ["active: false"]).text


def _members(source: Text) -> list[dict[str, str]]:
    found = []
    for item in yamltext.items(source, ()):
        pairs = item.value if isinstance(item, MappingNode) else []
        found.append({name.value: value.value for name, value in pairs if isinstance(value, ScalarNode)})
    if not any("url_binderhub" in member for member in found):
        raise Unknown("has no members with url_binderhub")
    return found


# --- the status page -----------------------------------------------------------------------------------------------


def put_row(text: str, entry: Entry) -> str:
    """A row for the member at the end of the status table. Raises Unknown."""
    first, last, width = _rows(text)
    lines = text.splitlines(keepends=True)
    if any(_first(line) == entry.host for line in lines[first:last]):
        return text
    if len(entry.host) > width:
        raise Unknown(f"has a table whose first column is narrower than {entry.host}")
    newline = "\r\n" if lines[first - 1].endswith("\r\n") else "\n"
    return "".join([*lines[:last], entry.host + newline, *lines[last:]])


def take_row(text: str, entry: Entry) -> str:
    """The status table without the member's row. Raises Unknown."""
    first, last, _ = _rows(text)
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines[first:last] if _first(line) != entry.host]
    return "".join([*lines[:first], *kept, *lines[last:]])


def _first(line: str) -> str:
    return (line.split() or [""])[0]


def _rows(text: str) -> tuple[int, int, int]:
    """The lines of the table's rows (first, after the last), and its first column's width."""
    lines = text.splitlines()
    borders = [number for number, line in enumerate(lines) if line and not line.strip("= ") and " " in line]
    for top, middle, bottom in zip(borders, borders[1:], borders[2:], strict=False):
        if middle == top + 2 and COLUMN in lines[top + 1]:
            return middle + 1, bottom, len(lines[top].split()[0])
    raise Unknown(f"has no table with a column {COLUMN}")
