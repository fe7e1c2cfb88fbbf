"""Texts of ``extraConfig``, run one after the other as BinderHub's chart runs them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from binder_node.cluster.snippets import apart

FIRST = '''\
import json as _text


class First:
    """Uses a name of the module's."""

    def say(self, value):
        return _text.dumps(_wrapped(value))


def _wrapped(value):
    return {"first": value}


c.first = First()
'''
SECOND = """\
import time as _text


def _wrapped(value):
    return {"second": value}


c.second = _wrapped
"""


def test_each_has_names_of_its_own() -> None:
    c = SimpleNamespace()
    shared: dict[str, Any] = {"c": c}
    for source in (apart(FIRST), apart(SECOND), "json = _text = _wrapped = None"):
        exec(source, shared)
    assert (c.first.say(1), c.second(2)) == ('{"first": 1}', {"second": 2})
