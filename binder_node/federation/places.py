"""Where a federation's repositories name their members, besides the redirector's hosts: one place a file. Pure.

Each place puts a member in and takes it out again as text, so that every other byte stays. Where a file has not the
shape that was known in ``jupyterhub/mybinder.org-deploy`` at 95860dbc and ``jupyterhub/mybinder.org-user-guide`` at
0825450, it is left as it is, and the operator is told: :class:`Unknown`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml.nodes import MappingNode, ScalarNode

from binder_node.federation import banner, guide, words, yamltext
from binder_node.federation.entry import Entry, Unknown
from binder_node.federation.yamltext import Text, word
from binder_node.spec.keys import Key

# A Google service account's id has 30 characters at most; Terraform ends a member's with `-events-archiver`.
ACCOUNT_MOST = 30 - len("-events-archiver")


@dataclass(frozen=True, slots=True)
class Place:
    """``put`` and ``take`` make the file's new text, or raise :class:`Unknown`; ``wanted`` says for which members.

    ``guide``: the file is the user guide's, in a repository of its own. ``tell``: what a person has to do besides.
    """

    path: str
    about: str
    put: Callable[[str, Entry], str]
    take: Callable[[str, Entry], str]
    wanted: Callable[[Entry], bool]
    guide: bool = False
    tell: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of a workflow's job with one item a member: ``name`` is the key with the member's name.

    A new item is the last one with the member's name and with ``own`` values; everything else stands as it does there.
    """

    file: str
    job: str
    name: str
    own: Callable[[Entry], Mapping[str, str]] = field(default=lambda _: {})

    @property
    def key(self) -> Key:
        return ("jobs", self.job, "strategy", "matrix", "include")

    def put(self, text: str, entry: Entry) -> str:
        source = Text(text, self.file)
        if self._number(source, entry) is not None:
            return text
        there = yamltext.items(source, self.key)
        own = {self.name: word(entry.name), **self.own(entry)}
        return yamltext.put_item(source, self.key, _like(source, there[-1], own)).text

    def take(self, text: str, entry: Entry) -> str:
        source = Text(text, self.file)
        number = self._number(source, entry)
        return text if number is None else yamltext.without_item(source, self.key, number).text

    def _number(self, source: Text, entry: Entry) -> int | None:
        there = yamltext.items(source, self.key)
        names = [_values(item).get(self.name) for item in there]
        if not any(names):
            raise Unknown(f"has no members at {'.'.join(map(str, self.key))}")
        return names.index(entry.name) if entry.name in names else None


def _values(item: Any) -> dict[str, str]:
    pairs = item.value if isinstance(item, MappingNode) else []
    return {name.value: value.value for name, value in pairs if isinstance(value, ScalarNode)}


def _like(source: Text, item: Any, own: Mapping[str, str]) -> list[str]:
    """The lines of an item of plain values, with ``own`` ones in their places, in the quotes that stand there."""
    lines = []
    for name, value in item.value:
        written = source.text[value.start_mark.index : value.end_mark.index]
        if not isinstance(value, ScalarNode) or "\n" in written:
            raise Unknown(f"has more than plain values at {name.value}")
        if name.value in own:
            quote = written[:1] if written[:1] in ('"', "'") else ""
            written = f"{quote}{own[name.value]}{quote}"
        lines.append(f"{name.value}: {written}")
    return [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]


@dataclass(frozen=True, slots=True)
class Words:
    """A list of quoted words with one a member, after ``opening``."""

    opening: str
    word: Callable[[Entry], str]

    def put(self, text: str, entry: Entry) -> str:
        return self._known(words.put(text, self.opening, self.word(entry)))

    def take(self, text: str, entry: Entry) -> str:
        return self._known(words.without(text, self.opening, self.word(entry)))

    def _known(self, text: str | None) -> str:
        if text is None:
            raise Unknown(f"has no list `{self.opening}` of words")
        return text


# --- Grafana's data sources ----------------------------------------------------------------------------------------


def put_source(text: str, entry: Entry) -> str:
    """A data source with the shape of the others', under the sponsor's name, where the names' order has it."""
    there, write = _sources(text)
    if any(source.get("url") == entry.prometheus for source in there):
        return text
    models = [source for source in there if source.get("type") == "prometheus"]
    if not models:
        raise Unknown("has no data source of type prometheus")
    newest = max(models, key=lambda source: int(source.get("id", 0)))
    own = {"id": max(int(source.get("id", 0)) for source in there) + 1, "isDefault": False}
    title = entry.sponsor or entry.name
    made = {**newest, **own, "name": title, "uid": entry.name[:40], "url": entry.prometheus}
    before = [source for source in there if str(source.get("name")).casefold() <= title.casefold()]
    at = there.index(before[-1]) + 1 if before else 0
    return write([*there[:at], made, *there[at:]])


def take_source(text: str, entry: Entry) -> str:
    """The data sources without the member's."""
    there, write = _sources(text)
    left = [source for source in there if source.get("url") != entry.prometheus]
    return text if len(left) == len(there) else write(left)


def _sources(text: str) -> tuple[list[dict[str, Any]], Callable[[list[dict[str, Any]]], str]]:
    """The data sources, and what writes them as they were written (``scripts/grafana-export``)."""
    end = text[len(text.rstrip()) :]

    def write(sources: list[dict[str, Any]]) -> str:
        return json.dumps(sources, sort_keys=True, indent=1) + end

    try:
        there = json.loads(text)
    except ValueError as error:
        raise Unknown(f"is no JSON: {error}") from None
    if not isinstance(there, list) or write(there) != text:
        raise Unknown("was not written by scripts/grafana-export, so that a change would move other lines")
    return there, write


# --- all of them ---------------------------------------------------------------------------------------------------


def _central(entry: Entry) -> bool:
    return entry.central


def _thanked(entry: Entry) -> bool:
    return bool(entry.sponsor and entry.sponsor_url)


def _channel(entry: Entry) -> Mapping[str, str]:
    return {"k3s-channel": entry.channel}


def _put_account(text: str, entry: Entry) -> str:
    if len(entry.name) > ACCOUNT_MOST:
        raise Unknown(f"would make a service account's id longer than 30 characters of {entry.name}")
    return ACCOUNTS.put(text, entry)


CD = Matrix(".github/workflows/cd.yml", "prod-deploy", "federation_member")
HELM = Matrix(".github/workflows/test-helm-template.yaml", "helm-template", "release", _channel)
PRUNE = Matrix(".github/workflows/prune-harbor.yaml", "prune-harbor", "name")
CLUSTERS = Words("KUBECONFIG_CLUSTERS = {", lambda entry: entry.name)
ACCOUNTS = Words("federation_members = [", lambda entry: entry.name)
STATUS_JS = Words("fedUrls = [", lambda entry: entry.url)

PLACES = (
    Place("mybinder/values.yaml", "banner", banner.put, banner.take, _thanked),
    Place(CD.file, "central deploy", CD.put, CD.take, _central),
    Place(HELM.file, "test of the charts", HELM.put, HELM.take, _central),
    Place(PRUNE.file, "prune of the registry", PRUNE.put, PRUNE.take, _central),
    Place("deploy.py", "clusters with a kubeconfig", CLUSTERS.put, CLUSTERS.take, _central),
    Place(
        "grafana-data/datasources.json",
        "data source",
        put_source,
        take_source,
        _central,
        tell="the file is a copy of what Grafana has: add or remove the data source there, too",
    ),
    Place(
        "terraform/gcp/prod/main.tf",
        "account for the events archive",
        _put_account,
        ACCOUNTS.take,
        _central,
        tell="`terraform apply` makes or removes the account; its key goes to eventsArchiver.serviceAccountKey",
    ),
    Place("docs/_data/support/federation.yml", "user guide: members", guide.put, guide.take, _thanked, guide=True),
    Place("docs/about/status.rst", "user guide: status", guide.put_row, guide.take_row, lambda _: True, guide=True),
    Place("docs/_static/status.js", "user guide: status", STATUS_JS.put, STATUS_JS.take, lambda _: True, guide=True),
)

__all__ = ["PLACES", "Entry", "Place", "Unknown"]
