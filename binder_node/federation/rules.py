"""The redirector's rules on what members answered, and its choice of a member for a request. Pure.

Each rule's source is ``images/federation-redirect/app.py`` of ``jupyterhub/mybinder.org-deploy`` at 95860dbc; where it
does something that one would not expect, that is kept and said.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Any

from binder_node.federation.config import CheckRules, Federation, Member

# The service in /health that is held against the headroom.
QUOTA = "Pod quota"
# The reason in the redirector's metrics for everything that it retries.
UNKNOWN = "unknown"
# Its pause after an attempt that it tries again.
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one GET brought: a JSON document, or ``error``, why there is none. ``seconds`` is how long it took."""

    document: Any = None
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the attempts of a check. ``health`` is None where it was not asked for any more."""

    versions: Answer
    health: Answer | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the redirector sends people there.

    ``reasons`` are sentences, empty when ``inside``; the first is what the redirector acts on, further ones would keep
    the member out after it. ``cause`` is the first one's label in the redirector's metrics: ``versions``, a service of
    /health, or ``unknown``.
    """

    inside: bool
    reasons: tuple[str, ...] = ()
    cause: str = ""


@dataclass(frozen=True, slots=True)
class _Finding:
    cause: str
    sentence: str
    final: bool  # a FailedCheck of the redirector: not retried


def judge(attempts: Sequence[Attempt], prime: Any, rules: CheckRules) -> Verdict:
    """What the redirector makes of one check of a member, which is all of ``attempts``, in order.

    ``prime`` is the document of the prime's /versions, as last seen; None: never seen, and every version is taken.
    For the prime itself, give its own.

    A finding ends the check at once. Whatever else goes wrong (no connection, no 200, no JSON, a key that is missing)
    is tried again; the last attempt decides, whatever came before it: the redirector goes on asking after a good one.
    """
    findings: list[_Finding] = []
    for attempt in attempts:
        findings = _findings(attempt, prime, rules)
        if any(finding.final for finding in findings):
            break
    if not findings:
        return Verdict(True)
    return Verdict(False, tuple(finding.sentence for finding in findings), findings[0].cause)


def remembered(attempts: Sequence[Attempt], before: Any) -> Any:
    """The prime's versions after a check of it: the last ones that it told, even when it is unhealthy otherwise."""
    told = [attempt.versions.document for attempt in attempts if not attempt.versions.error]
    return told[-1] if told else before


def wait(inside: bool, rules: CheckRules, draw: float) -> float:
    """Seconds until the next check; ``draw`` is a random number from 0 to 1."""
    period = rules.period if inside else rules.failed_period
    return (1 + rules.jitter * (0.5 - draw)) * period


def _findings(attempt: Attempt, prime: Any, rules: CheckRules) -> list[_Finding]:
    found: list[_Finding] = []
    if attempt.versions.error:
        found.append(_Finding(UNKNOWN, f"versions: {attempt.versions.error}", False))
    elif prime is not None and attempt.versions.document != prime:
        found += [
            _Finding("versions", sentence, True) for sentence in different(attempt.versions.document, prime, "versions")
        ]
    if attempt.health is None:
        return found
    if attempt.health.error:
        found.append(_Finding(UNKNOWN, f"health: {attempt.health.error}", False))
    else:
        found += _health(attempt.health.document, rules)
    return found


def different(own: Any, prime: Any, path: str) -> list[str]:
    """Where two documents differ, a sentence for each place; they are compared as Python compares them."""
    if isinstance(own, Mapping) and isinstance(prime, Mapping):
        return [
            sentence
            for key in dict.fromkeys([*prime, *own])
            if key not in own or key not in prime or own[key] != prime[key]
            for sentence in different(own.get(key), prime.get(key), f"{path}.{key}")
        ]
    return [f"{path}: {_shown(own)}, the prime has {_shown(prime)}"]


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _health(document: Any, rules: CheckRules) -> list[_Finding]:
    """As the redirector reads it: every check's ``ok`` first, then one after the other up to the quota's."""
    found: list[_Finding] = []
    try:
        checks = document["checks"]
        for check in checks:
            check["service"], int(check["ok"])  # for its metrics; what cannot be a number is an error
        for check in checks:
            limited = check["ok"] and check["service"] == QUOTA and check["quota"] is not None and rules.headroom
            if not check["ok"]:
                found.append(_Finding(str(check["service"]), f"{check['service']}: {_told(check)}", True))
            elif limited and check["total_pods"] + rules.headroom >= check["quota"]:
                found.append(_Finding(QUOTA, _full(check["total_pods"], check["quota"], rules.headroom), True))
            if limited:
                break  # checks that come after the quota are not looked at
    except (KeyError, TypeError, ValueError, IndexError) as error:
        wrong = f"health: not as BinderHub writes it ({type(error).__name__}: {error})"
        return found or [_Finding(UNKNOWN, wrong, False)]
    return found


def _told(check: Mapping[str, Any]) -> str:
    if check["service"] == QUOTA and "total_pods" in check and "quota" in check:
        return f"not ok, {check['total_pods']} pods of {check['quota']}"
    return "not ok"


def _full(pods: Any, quota: Any, headroom: int) -> str:
    if quota <= headroom:
        return f"{QUOTA}: a quota of {quota} takes nobody, as {headroom} pods are kept free ({pods} run)"
    return f"{QUOTA}: {pods} pods of {quota}, and {headroom} are kept free: out from {quota - headroom} on"


def pick(names_and_weights: Sequence[tuple[str, float]], draw: float) -> str:
    """The weighted choice; ``draw`` is a random number from 0 to 1. The same member that ``random.choices`` takes."""
    sums = list(accumulate(weight for _, weight in names_and_weights))
    return names_and_weights[bisect(sums, draw * sums[-1], 0, len(sums) - 1)][0]


def rank(names_and_weights: Sequence[tuple[str, float]], key: str) -> list[str]:
    """All names, the best one for ``key`` first: rendezvous hashing, with the redirector's own hash."""
    scored = []
    for name, weight in names_and_weights:
        number = int.from_bytes(blake2b(f"{key}-{name}".encode(), digest_size=8).digest(), "big")
        scored.append((weight * (1.0 / -math.log(number / 0xFFFFFFFFFFFFFFFF)), name))
    return [name for _, name in sorted(scored, reverse=True)]


def cache_key(path: str) -> str:
    """What rendezvous hashing tells requests apart by: GitHub's repositories without their ref, all others with it."""
    key = path.lower()
    return key.rsplit("/", maxsplit=1)[0] if key.startswith("/build/gh") else key


def candidates(federation: Federation, healthy: Mapping[str, bool]) -> list[Member]:
    """Whom a request may go to: the healthy ones; when there is none, the prime, healthy or not."""
    routed = [member for member in federation.routed if healthy.get(member.name, True)]
    return routed or [member for member in federation.routed if member.prime]


def route(federation: Federation, candidates: Sequence[Member], path: str, cookie: str, draw: float) -> str:
    """The name of the member that a request for ``path`` goes to. ``cookie`` is the URL of the member that the same
    path went to before, empty without one; it counts while that member is a candidate.
    """
    kept = {member.url: member.name for member in candidates}.get(cookie) if cookie else None
    if kept is not None:
        return kept
    weighted = [(member.name, member.weight) for member in candidates]
    if federation.balance == "rendezvous":
        return rank(weighted, cache_key(path))[0]
    return pick(weighted, draw)
