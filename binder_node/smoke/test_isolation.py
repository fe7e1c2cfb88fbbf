"""Layer ``isolation``: what users' code must not reach, by the walls that stand and by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from binder_node.errors import StepError
from binder_node.host.firewall import TABLE, table
from binder_node.layout import NAMESPACE
from binder_node.smoke import judge_isolation, judge_pipeline
from binder_node.smoke.checks import check, expect
from binder_node.smoke.reach import USERS_OWN, node_targets, probed, program
from binder_node.smoke.trial import Trial
from binder_node.spec.model import Spec

LIST = f"nft -j -s list table inet {TABLE}"
# Components of the release that a user's server is meant to use.
SPARED = ("hub", "proxy")

RIGHTS = """
import json, os
names = ("CapEff", "CapBnd", "NoNewPrivs")
lines = [line.split(":", 1) for line in open("/proc/self/status")]
found = {key: value.strip() for key, value in lines if key in names}
found["uid"] = str(os.getuid())
found["token"] = "there" if os.path.exists("/var/run/secrets/kubernetes.io") else "absent"
print(json.dumps(found))
"""


@check(
    "isolation.firewall",
    "the firewall's rules are the inventory's, to the word",
    needs=("machine.firewall", "machine.outside"),
    guide=27,
)
def test_firewall(host: Any, spec: Spec) -> None:
    loaded = host.run(LIST)
    # The same rules in a network namespace of nobody's: nft writes both the same way.
    wanted = host.run(f"unshare --net sh -c 'nft -f - && {LIST}'", input=table(spec))
    if wanted.rc != 0:
        raise StepError(spec.name, "read the firewall's rules", wanted.stderr, f"run `binder-node up {spec.name}`")
    expect(judge_isolation.table(loaded.stdout if loaded.rc == 0 else "", wanted.stdout, spec))


@check("isolation.policies", "network policies keep users' and build pods in", needs="k3s.api", guide=27)
def test_policies(kubectl: Callable[[str], Any], spec: Spec, address: str) -> None:
    policies = kubectl(f"get networkpolicies -n {NAMESPACE}")["items"]
    pods = kubectl(f"get pods -n {NAMESPACE} -l 'component in (hub,proxy,binder)'")["items"]
    expect(*judge_isolation.policies(policies, node_targets(spec, address), pods, SPARED))


@check(
    "isolation.build", "a build's step reaches the world, and nothing of the node", needs="pipeline.build", deep=True
)
def test_build(trial: Trial) -> None:
    assert trial.first is not None
    expect(*judge_pipeline.walls(probed(trial.first.log), trial.world().what, "a build's step"))


@check(
    "isolation.server",
    "a user's server reaches the world, and nothing of the node",
    needs=("pipeline.relaunch", "kernel.code"),
    deep=True,
)
def test_server(trial: Trial) -> None:
    ran = trial.run(program([*trial.targets(USERS_OWN), trial.world()]))
    expect(*judge_pipeline.walls(probed(ran.output), trial.world().what, "a user's server"))


@check(
    "isolation.rights",
    "a user's server has no rights that it does not need",
    needs=("pipeline.relaunch", "kernel.code"),
    deep=True,
)
def test_rights(trial: Trial) -> None:
    expect(*judge_pipeline.rights(trial.run(RIGHTS).output))
