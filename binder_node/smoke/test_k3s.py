"""Layer ``k3s``: Kubernetes, and what it needs to be trusted with launches."""

from __future__ import annotations

from typing import Any

from binder_node.smoke.checks import Trouble, check, expect
from binder_node.spec.model import Spec


@check("k3s.api", "the Kubernetes API says that it is ready", needs="machine.ssh")
def test_api(host: Any, spec: Spec) -> None:
    done = host.run("k3s kubectl get --raw /readyz")
    if done.failed:
        expect(Trouble((done.stderr or done.stdout).strip(), f"see `binder-node logs {spec.name} k3s`"))
