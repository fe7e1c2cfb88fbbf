"""The redirector's own configuration, from a federation's values: for a federation of one's own. Pure."""

from __future__ import annotations

import json

from binder_node.federation.config import Federation


def redirector(federation: Federation) -> str:
    """``/etc/federation-redirect/config.json``: every key that the redirector reads, nothing left to its own defaults,
    which are other ones than those of the federation's chart. It takes a weight of 0 for a member that is not there.
    """
    rules = federation.rules
    made = {
        "check": {
            "period": rules.period,
            "jitter": rules.jitter,
            "retries": rules.retries,
            "timeout": rules.timeout,
            "failed_period": rules.failed_period,
        },
        "load_balancer": federation.balance,
        "pod_headroom": rules.headroom,
        "host_cookie_age_hours": federation.cookie_hours,
        "hosts": {
            member.name: {
                "prime": member.prime,
                "url": member.url,
                "weight": member.weight,
                "health": member.health,
                "versions": member.versions,
            }
            for member in federation.members
        },
    }
    return json.dumps(made, indent=2) + "\n"
