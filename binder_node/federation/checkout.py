"""The members in a federation's values (``config/prod.yaml``), changed as text: every other byte stays. Pure.

Each change is read again by :func:`binder_node.federation.config.parse`: none leaves a null host, a prime of weight 0
or anything else that the redirector dies of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml.nodes import MappingNode, ScalarNode

from binder_node.errors import InputError, Problem
from binder_node.federation import yamltext
from binder_node.federation.config import SECTION, Federation, Member, parse
from binder_node.federation.yamltext import Text, word
from binder_node.spec.keys import Key, dotted

HOSTS: Key = (SECTION, "hosts")
# Where the values that make the redirector's configuration lie in a checkout of jupyterhub/mybinder.org-deploy.
PROD = "config/prod.yaml"
# Sessions and builds at once, in a member's own values: BinderHub's name for it, and the one before that.
QUOTAS: tuple[Key, ...] = (
    ("binderhub", "config", "LaunchQuota", "total_quota"),
    ("binderhub", "config", "BinderHub", "pod_quota"),
)
# The keys of a host as the federation writes them.
ORDER = ("prime", "url", "weight", "health", "versions")


def federation(text: str, file: str = PROD) -> Federation:
    """The members that ``text`` has. Raises InputError where the redirector would not take it."""
    return parse(text, file)


def add_host(text: str, member: Member, file: str = PROD) -> str:
    """``text`` with ``member`` as the last host, its lines in the order and at the depth of the last one's.

    Raises:
        InputError: there is one of that name or URL, or the redirector would not take the result.
    """
    source, there = Text(text, file), parse(text, file)
    for other in there.members:
        if other.name == member.name or other.url == member.url:
            wrong = f"{other.name} is there already, at {other.url}"
            raise _problem(there, other.name, wrong, "give each member a name and a URL of its own")
    hosts = yamltext.mapping(source, HOSTS)
    _, last = hosts.value[-1]
    keys = [name.value for name, _ in last.value] if isinstance(last, MappingNode) else []
    order = [key for key in keys if key in ORDER] + [key for key in ORDER if key not in keys]
    depth = _depth(hosts)
    values = _values(member)
    lines = [f"{word(member.name)}:", *(f"{' ' * depth}{key}: {word(values[key])}" for key in order)]
    return _checked(yamltext.put_entry(source, HOSTS, lines))


def remove_host(text: str, name: str, file: str = PROD) -> str:
    """``text`` without the host ``name``, as it is where there is none.

    Raises:
        InputError: it is the prime, or the last one.
    """
    source, there = Text(text, file), parse(text, file)
    if not any(member.name == name for member in there.members):
        return text
    _refuse_prime(there, name, "cannot be taken out")
    return _checked(yamltext.without_entry(source, (*HOSTS, name)))


def set_weight(text: str, name: str, weight: float, file: str = PROD) -> str:
    """``text`` with another weight of host ``name``.

    Raises:
        InputError: there is none of that name, or it is the prime and ``weight`` is 0.
    """
    source, there = Text(text, file), parse(text, file)
    there.member(name)
    if weight == 0:
        _refuse_prime(there, name, "cannot have weight 0")
    return _checked(_set(source, (*HOSTS, name), "weight", word(weight)))


def set_prime(text: str, name: str, file: str = PROD) -> str:
    """``text`` with ``name`` as the prime in the place of the one that is.

    Raises:
        InputError: there is none of that name, or its weight is 0.
    """
    there = parse(text, file)
    if there.member(name).weight == 0:
        raise _problem(there, name, "has weight 0: the redirector would have no prime", "give it weight first")
    if there.prime.name == name:
        return text
    # Both at once: between the two there would be none.
    source = _set(Text(text, file), (*HOSTS, there.prime.name), "prime", "false")
    return _checked(_set(source, (*HOSTS, name), "prime", "true"))


def set_urls(text: str, member: Member, file: str = PROD) -> str:
    """``text`` with the URLs of ``member`` at the host of that name; weight and prime stay. Raises InputError."""
    parse(text, file).member(member.name)
    source = Text(text, file)
    for name in ("url", "health", "versions"):
        source = _set(source, (*HOSTS, member.name), name, word(_values(member)[name]))
    return _checked(source)


def quota_of(text: str, file: str) -> int | None:
    """The quota that a member's own values (``config/NAME.yaml``) give; None where it has none."""
    found = next((value for key in QUOTAS if (value := yamltext.scalar(Text(text, file), key)) is not None), None)
    return int(found) if found is not None and found.isdigit() else None


def set_quota(text: str, quota: int, file: str) -> str:
    """A member's own values with another quota.

    Raises:
        InputError: they name none: the chart's would be in force.
    """
    source = Text(text, file)
    for key in QUOTAS:
        if yamltext.scalar(source, key) is not None:
            return yamltext.replaced(source, key, str(quota)).text
    raise source.problem(0, QUOTAS[0], "is not there", f"write total_quota: {quota}")


def _set(source: Text, host: Key, name: str, value: str) -> Text:
    """One value of a host, which may be missing so far; a value that is an alias is written out."""
    node = yamltext.mapping(source, host)
    there = next((item for key, item in node.value if key.value == name), None)
    if there is None:
        return yamltext.put_entry(source, host, [f"{name}: {value}"])
    if isinstance(there, ScalarNode) and there.value.casefold() == value.casefold():
        return source
    return yamltext.replaced(source, (*host, name), value)


def _values(member: Member) -> Mapping[str, Any]:
    return {
        "prime": member.prime,
        "url": member.url,
        "weight": member.weight,
        "health": member.health,
        "versions": member.versions,
    }


def _depth(hosts: MappingNode) -> int:
    """Columns by which a host's keys stand deeper than its name."""
    for name, host in hosts.value:
        if isinstance(host, MappingNode) and not host.flow_style and host.value:
            return int(host.value[0][0].start_mark.column - name.start_mark.column)
    return 2


def _refuse_prime(there: Federation, name: str, wrong: str) -> None:
    if there.prime.name == name:
        right = "make another member prime first, and wait until that is deployed"
        raise _problem(there, name, f"{wrong}: it is the prime, which the front page is proxied to", right)


def _problem(there: Federation, name: str, wrong: str, right: str) -> InputError:
    return InputError(Problem(there.file, there.lines[name], dotted((*HOSTS, name)), wrong, right))


def _checked(source: Text) -> str:
    parse(source.text, source.file)
    return source.text
