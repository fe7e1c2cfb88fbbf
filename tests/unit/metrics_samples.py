"""A Spec with every alert there is; ``python -m tests.unit.metrics_samples`` writes the rules for promtool's tests."""

from __future__ import annotations

from pathlib import Path

from binder_node.host.metrics.rules import rules_text
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

RULES = Path(__file__).parents[1] / "alerts" / "rules.yaml"


def whole_spec() -> Spec:
    """A member with weight, certificates, its bucket on the node, and every way to tell."""
    return sample_spec(
        tls={"mode": "acme", "email": "ops@example.org"},
        federation={"member": "bids", "weight": 20},
        alerts={
            "to": ["webhook", "mail", "zulip"],
            "mail_to": ["ada@example.org", "ops@example.org"],
            "mail_from": "bids-1@example.org",
            "mail_server": "smtp.example.org:587",
            "mail_user": "bids",
            "zulip": "https://example.zulipchat.com/",
            "zulip_stream": "binder alerts",
            "deadman": True,
        },
    )


if __name__ == "__main__":
    RULES.write_bytes(rules_text(whole_spec()))
