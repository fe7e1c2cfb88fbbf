"""What must hold of where images come from, and of whom users' code does not reach."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from binder_node.spec import lists
from binder_node.spec.model import LocalProvider, Spec, SshProvider
from binder_node.spec.rules import Found, rule


@rule("registry")
def cache_asks_a_host(spec: Spec) -> Iterator[Found]:
    """Distribution takes a host alone (https://distribution.github.io/distribution/recipes/mirror/, gotchas)."""
    url = spec.registry.cache_from
    if url is not None and urlsplit(url)._replace(scheme="", netloc="").geturl() not in ("", "/"):
        yield Found(("registry", "cache_from"), f"'{url}' has more than a host", "write a URL without a path")


@rule("abuse", "provider")
def banned_are_not_the_node(spec: Spec) -> Iterator[Found]:
    """A slip in a list would cut users from the world, or the node's own parts from its web."""
    own = str(spec.provider.address) if isinstance(spec.provider, LocalProvider | SshProvider) else ""
    for number, network in enumerate(spec.abuse.banned):
        if why := lists.against(network, own):
            yield Found(("abuse", "banned", number), why, f"ban public networks of /{lists.WIDEST} or narrower")
    for number, said in enumerate(spec.abuse.banned_repositories):
        found, wrong = lists.read(said)
        if wrong or not found.repositories:
            yield Found(("abuse", "banned_repositories", number), f"'{said}' is no repository", f"write {lists.PLACE}")
