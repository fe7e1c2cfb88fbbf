"""What must hold of where images come from, and of whom users' code does not reach."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from binder_node.spec.model import Spec
from binder_node.spec.rules import Found, rule


@rule("registry")
def cache_asks_a_host(spec: Spec) -> Iterator[Found]:
    """Distribution takes a host alone (https://distribution.github.io/distribution/recipes/mirror/, gotchas)."""
    url = spec.registry.cache_from
    if url is not None and urlsplit(url)._replace(scheme="", netloc="").geturl() not in ("", "/"):
        yield Found(("registry", "cache_from"), f"'{url}' has more than a host", "write a URL without a path")
