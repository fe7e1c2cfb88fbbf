"""The sponsors in the front page's banner: a sentence of links in the chart's own values. Pure."""

from __future__ import annotations

import re
from html import escape

from ruamel.yaml.nodes import ScalarNode

from binder_node.federation import yamltext
from binder_node.federation.entry import Entry, Unknown
from binder_node.federation.yamltext import Text
from binder_node.spec.keys import Key

FILE = "mybinder/values.yaml"
KEY: Key = ("binderhub", "config", "BinderHub", "banner_message")
SENTENCE = re.compile(r"Thanks to (<a .*</a>) for supporting us")
LINK = re.compile(r'<a href="([^"]*)">([^<]*)</a>')


def put(text: str, entry: Entry) -> str:
    """The sponsor as the last of the links, unless one has its page or name. Raises Unknown."""
    start, end, links, commas = _links(text)
    own = f'<a href="{escape(entry.sponsor_url)}">{escape(entry.sponsor)}</a>'
    if any(_same(link, entry) for link in links):
        return text
    return text[:start] + _sentence([*links, own], commas) + text[end:]


def take(text: str, entry: Entry) -> str:
    """The links without the sponsor's. Raises Unknown."""
    start, end, links, commas = _links(text)
    left = [link for link in links if not _same(link, entry)]
    if len(left) == len(links):
        return text
    if not left:
        raise Unknown("thanks nobody else")
    return text[:start] + _sentence(left, commas) + text[end:]


def _same(link: str, entry: Entry) -> bool:
    found = LINK.fullmatch(link)
    return found is not None and (found[1] == escape(entry.sponsor_url) or found[2] == escape(entry.sponsor))


def _links(text: str) -> tuple[int, int, list[str], bool]:
    """Where the links begin and end, each, and whether a comma is before the last `and`."""
    node = yamltext.find(Text(text, FILE), KEY)
    if not isinstance(node, ScalarNode):
        raise Unknown(f"has no {'.'.join(map(str, KEY))}")
    found = SENTENCE.search(text, node.start_mark.index, node.end_mark.index)
    if found is None:
        raise Unknown("has no sentence `Thanks to ... for supporting us` of links in its banner")
    links = [link[0] for link in LINK.finditer(found[1])]
    commas = ", and <a" in found[1] or len(links) < 3
    if _sentence(links, commas) != found[1]:
        raise Unknown("has more than links, commas and `and` in its banner's thanks")
    return found.start(1), found.end(1), links, commas


def _sentence(links: list[str], commas: bool) -> str:
    """English: `A`, `A and B`, `A, B, and C`; the last without its second comma where ``commas`` is False."""
    if len(links) < 3:
        return " and ".join(links)
    return ", ".join(links[:-1]) + (", and " if commas else " and ") + links[-1]
