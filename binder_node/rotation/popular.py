"""The images launched most, from the registry's access log: BinderHub asks for the manifest at each launch. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# A line of `uniq -c` over the log's requests: `   12 "GET /v2/binder/r2d-x/manifests/abc HTTP/1.1" 200`.
ROW = re.compile(r'^\s*(\d+) "GET /v2/(\S+)/manifests/(\S+) HTTP/[\d.]+" 200$')


def popular(rows: Iterable[str], registry: str, prefix: str, most: int) -> tuple[str, ...]:
    """Full names of the ``most`` launched images below ``prefix``, the most launched first. ``registry`` is host and
    port, as names of images have it.

    >>> popular(['3 "GET /v2/binder/a/manifests/1 HTTP/1.1" 200'], "registry.test:5000", "binder", 5)
    ('registry.test:5000/binder/a:1',)
    """
    found: Counter[str] = Counter()
    for row in rows:
        match = ROW.match(row)
        if match is None:
            continue
        count, repository, tag = match.groups()
        # By digest is containerd's own question while it pulls.
        if repository.startswith(f"{prefix}/") and ":" not in tag:
            found[f"{registry}/{repository}:{tag}"] += int(count)
    # In the order of names where counts are equal: two looks give the same list.
    return tuple(name for name, _ in sorted(found.items(), key=lambda one: (-one[1], one[0]))[:most])
