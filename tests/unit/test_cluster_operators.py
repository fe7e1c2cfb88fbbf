"""Operators' access to the cluster: what is made, what goes, and a kubeconfig that holds nothing of the admin's."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from binder_node import remote
from binder_node.artifacts.pins import load_pins
from binder_node.cluster import operators
from binder_node.cluster.operators import AccessStage, Seen, objects, seen
from binder_node.errors import InputError, StepError
from binder_node.events import silent
from binder_node.lifecycle.opened import wanted_artifacts
from binder_node.lifecycle.stages import later_stages
from binder_node.node import Access, Node
from tests.unit.host_samples import central_spec, sample_secrets, sample_spec

WHOLE = frozenset(operators.KINDS)


def node(*names: str) -> Node:
    spec = sample_spec(kubernetes={"operators": list(names)})
    return Node(spec, sample_secrets(), {}, {"build": "x"}, Path("/nowhere"))


def test_who_is_named_gets_an_account_a_token_and_all_rights() -> None:
    made = objects(["ada"], "0a1b")
    assert [one["kind"] for one in made] == ["Namespace", "ServiceAccount", "Secret", "ClusterRoleBinding"]
    assert [one["metadata"]["name"] for one in made[1:]] == ["ada", "ada-0a1b", "binder-node:operator:ada"]
    assert made[2]["type"] == "kubernetes.io/service-account-token"
    assert made[2]["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "ada"}
    assert made[3]["subjects"] == [{"kind": "ServiceAccount", "name": "ada", "namespace": operators.NAMESPACE}]
    assert made[3]["roleRef"]["name"] == "cluster-admin"
    assert {one["metadata"]["labels"][operators.LABEL] for one in made[1:]} == {"ada"}


def test_changes_are_those_who_lack_something_and_those_who_are_named_no_more() -> None:
    stage = AccessStage(node("ada", "deploy"), None)
    there = Seen((("deploy", WHOLE - {"Secret"}), ("old", WHOLE), ("ada", WHOLE)))
    assert [f"{change.action} {change.what}" for change in stage.changes(there)] == [
        "create access of operator deploy",
        "delete access of operator old",
    ]
    assert stage.changes(Seen((("ada", WHOLE), ("deploy", WHOLE)))) == []
    assert len(stage.changes(stage.nothing())) == 2


def test_what_the_node_says_is_read_by_operator() -> None:
    text = "ServiceAccount\tada\nSecret\tada\nSecret\tdeploy\nClusterRoleBinding\tada\n\nSecret\t\n"
    assert seen(text) == Seen((("ada", WHOLE), ("deploy", frozenset({"Secret"}))))


class Kubectl:
    """The node's kubectl: answers by the first word, remembers all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers = answers
        monkeypatch.setattr(remote, "run", self)

    def __call__(self, _access: Access, command: str, *, input: str | None = None, **_: Any) -> remote.Result:
        verb = command.removeprefix("sudo -n ").removeprefix("k3s kubectl ").split()[0]
        self.asked.append((command, input or ""))
        return remote.Result(
            0 if verb in self.answers else 1, self.answers.get(verb, ""), "" if verb in self.answers else "no"
        )


def reached(user: str = "root") -> Access:
    nowhere = Path("/nowhere")
    return Access("bids-1", "192.0.2.1", 22, user, nowhere, nowhere, nowhere)


def test_rights_go_before_accounts_and_new_ones_come_in_by_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = Kubectl(monkeypatch, delete="", apply="")
    AccessStage(node("ada"), reached("ubuntu")).apply(Seen((("old", WHOLE),)), silent)
    (gone, _), (made, text) = kubectl.asked
    which = "-n binder-node-operators -l 'binder-node/operator in (old)'"
    assert gone == (
        f"sudo -n k3s kubectl delete clusterrolebinding {which} && "
        f"sudo -n k3s kubectl delete secret,serviceaccount {which}"
    )
    assert made.startswith("sudo -n k3s kubectl apply --server-side")
    _, account, secret, _ = YAML(typ="safe").load_all(text)
    assert account["metadata"]["name"] == "ada"
    assert secret["metadata"]["name"].startswith("ada-")


def test_a_token_never_comes_back_under_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = Kubectl(monkeypatch, delete="", apply="")
    stage = AccessStage(node("ada"), reached())
    stage.renew("ada")
    stage.renew("ada")
    stage.apply(Seen((("ada", WHOLE - {"Secret"}),)), silent)
    assert kubectl.asked[0][0] == "k3s kubectl delete secret -n binder-node-operators -l binder-node/operator=ada"
    texts = [text for command, text in kubectl.asked if "apply" in command]
    names = {list(YAML(typ="safe").load_all(text))[2]["metadata"]["name"] for text in texts}
    assert len(names) == 3


def test_a_kubeconfig_is_the_operators_own(monkeypatch: pytest.MonkeyPatch) -> None:
    token, authority = base64.b64encode(b"secret-token").decode(), base64.b64encode(b"CERT").decode()
    kubectl = Kubectl(monkeypatch, get=f"{token} {authority}\n")
    stage = AccessStage(node("ada"), reached())
    assert stage.token("ada") == ("secret-token", authority)
    assert all("k3s.yaml" not in command and "secret-token" not in command for command, _ in kubectl.asked)
    text = operators.kubeconfig(central_spec(), "ada", "secret-token", authority, operators.server("192.0.2.1"))
    found = YAML(typ="safe").load(text)
    assert found["clusters"] == [
        {
            "name": "bids-ovh",
            "cluster": {"certificate-authority-data": authority, "server": "https://192.0.2.1:6443"},
        }
    ]
    assert found["users"] == [{"name": "ada@bids-ovh", "user": {"token": "secret-token"}}]
    assert found["contexts"][0]["context"]["namespace"] == "bids-ovh"
    assert found["current-context"] == "bids-ovh"
    own = YAML(typ="safe").load(operators.kubeconfig(sample_spec(), "ada", "t", "a", "https://x"))
    assert own["contexts"][0]["context"]["namespace"] == "binder"


def test_who_is_not_named_gets_none_and_a_failure_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    Kubectl(monkeypatch)
    with pytest.raises(InputError, match=r"eve is no operator of this node; write it into kubernetes\.operators"):
        AccessStage(node("ada"), reached()).token("eve")
    with pytest.raises(StepError, match="bids-1: fetch the token of ada: no -> run `binder-node up bids-1`"):
        AccessStage(node("ada"), reached()).token("ada")
    Kubectl(monkeypatch, get="")
    with pytest.raises(StepError, match="fetch the token of ada: there is none -> run `binder-node up bids-1`"):
        AccessStage(node("ada"), reached()).token("ada")
    with pytest.raises(StepError, match="there is none yet"):
        AccessStage(node("ada"), None).inspect(silent)


def test_a_central_deploys_node_ends_with_access_and_has_no_release() -> None:
    central = Node(central_spec(), sample_secrets(), {}, {"build": "x"}, Path("/nowhere"))
    assert [stage.name for stage in later_stages(central, None, "192.0.2.1")] == ["host", "storage", "backup", "access"]
    own = later_stages(node(), None, "192.0.2.1")
    assert [stage.name for stage in own] == ["host", "storage", "backup", "access", "release"]
    pins = load_pins()
    assert wanted_artifacts(central_spec(), pins) == ["k3s", "age", *pins.preload]
