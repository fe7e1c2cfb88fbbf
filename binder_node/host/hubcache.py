"""A pull-through cache of Docker Hub: CNCF Distribution once more, in the registry's bucket below a root of its own.

In this mode it takes no pushes, and serves what one other registry has. By a tag it asks that registry with a HEAD,
which Docker Hub counts as no pull (https://docs.docker.com/docker-hub/usage/pulls/); by a digest it asks nobody for
what it has. Where the other one does not answer, it serves what it has by tags too. Where the cache itself is away, who
uses it goes to the Hub.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from binder_node.errors import InputError, Problem
from binder_node.host.registry import OWNER, configuration, s3_driver, service
from binder_node.host.wanted import Component, File, Unit, Wait
from binder_node.layout import BIN, CACHE_PORT, ETC, HUB_CACHE
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, Spec

UNIT = "registry-cache.service"
CONFIG, LOGIN = str(ETC / "registry-cache.yaml"), str(ETC / "registry-cache-login")
HUB, HUB_URL = "docker.io", "https://registry-1.docker.io"
TOKEN = "dockerhub"
# Of one layer on its way from the Hub into the bucket. Distribution's five minutes would break off the pull, too.
WRITING = "1h"


def upstream(spec: Spec) -> str:
    """What the cache asks, without a slash at its end: Distribution takes no path there."""
    if spec.registry.cache_from is not None:
        return spec.registry.cache_from.rstrip("/")
    hosts = [url.rstrip("/") for url in spec.registry.mirrors.get(HUB, ()) if urlsplit(url).path in ("", "/")]
    return hosts[0] if hosts else HUB_URL


def mirrors(spec: Spec) -> dict[str, tuple[str, ...]]:
    """Where images of a registry are looked for before the registry itself, for containerd and BuildKit alike."""
    found = dict(spec.registry.mirrors)
    if spec.hub_days:
        found[HUB] = (f"http://127.0.0.1:{CACHE_PORT}", *found.get(HUB, ()))
    return found


def hubcache(spec: Spec, secrets: Secrets) -> Component:
    """The third instance of the registry's binary.

    Raises:
        InputError: it shall log in, and there is no token.
    """
    binary = str(BIN / "registry")
    unit = Unit(
        UNIT,
        service("cache", binary, CONFIG, isinstance(spec.storage, NodeStorage)),
        restart_on=(CONFIG, LOGIN, binary),
        waits=(Wait("tcp", str(CACHE_PORT)),),
    )
    return Component(
        "hubcache",
        files=(
            File(CONFIG, _config(spec, secrets), 0o640, group=OWNER, secret=True),
            File(LOGIN, _login(spec, secrets), 0o750, group=OWNER, secret=True),
        ),
        units=(unit,),
    )


def _config(spec: Spec, secrets: Secrets) -> bytes:
    return configuration(
        {**s3_driver(spec, secrets), "rootdirectory": f"/{HUB_CACHE.rstrip('/')}"},
        delete=False,
        readonly=False,
        http={"addr": f"127.0.0.1:{CACHE_PORT}", "relativeurls": True, "draintimeout": "30s"},
        proxy={
            "remoteurl": upstream(spec),
            # It removes nothing: the bucket does (storage/policy.py). It would keep its list of what is to go in one
            # object, which two machines on one bucket write, forget manifests, and not start without a bucket.
            "ttl": "0s",
            "cachewritetimeout": WRITING,
            # With a name and a password in here it asks the Hub at its start, and does not start without it.
            "exec": {"command": LOGIN},
        },
    )


def _login(spec: Spec, secrets: Secrets) -> bytes:
    """A helper in Docker's form (docker-credential-helpers): prints name and password, both empty for nobody."""
    user, token = spec.registry.cache_user, secrets.tokens.get(TOKEN)
    if user and token is None:
        right = f"give it by `binder-node secrets set {spec.name} tokens.{TOKEN}`, or remove cache_user"
        raise InputError(Problem("", 0, f"{spec.name}: registry.cache_user", f"there is no token of {user}'s", right))
    said = {"Username": user, "Secret": token.reveal() if user and token is not None else ""}
    return f"#!/bin/sh\n# Made by binder-node.\ncat <<'END'\n{json.dumps(said)}\nEND\n".encode()
