"""The stage ``access``: operators of the cluster besides its admin, each with an account and a token of their own.

A token does not expire with K3s's client certificates (mybinder.org-deploy #3630), says in the API's log who it was,
and ends with its Secret: within ten seconds, for which the API server remembers one that was right. Rights end at once.
ssh keys of operators are the host's (``ssh.admins``).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO
from secrets import token_hex
from typing import Any

from binder_node import remote
from binder_node.changes import Change
from binder_node.cluster.dump import yaml_stream
from binder_node.cluster.kube import sudo
from binder_node.cluster.manifests import OWN
from binder_node.errors import DeadlineError, InputError, Problem, StepError
from binder_node.events import Reporter
from binder_node.layout import API_PORT
from binder_node.node import Access, Node
from binder_node.spec.model import Spec

STAGE = "access"
NAMESPACE = "binder-node-operators"
# A central deploy makes namespaces, CRDs and cluster roles; less than all would have to be kept up with its charts.
ROLE = "cluster-admin"
LABEL = "binder-node/operator"
KINDS = ("ServiceAccount", "Secret", "ClusterRoleBinding")
SECONDS = 30.0
# The token controller fills a Secret within a second of its making.
TOKEN_SECONDS = 20.0
FIELDS = f'{{range .items[*]}}{{.kind}}{{"\\t"}}{{.metadata.labels.{LABEL}}}{{"\\n"}}{{end}}'


@dataclass(frozen=True, slots=True)
class Seen:
    """Kinds of objects that there are of each operator, by name."""

    kinds: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.kinds)

    @property
    def whole(self) -> frozenset[str]:
        """Who has everything."""
        return frozenset(name for name, kinds in self.kinds if kinds.issuperset(KINDS))


def objects(names: Iterable[str], fresh: str) -> list[dict[str, Any]]:
    """What lets ``names`` in, with their namespace first.

    ``fresh`` ends the names of the Secrets, and is to be another one each time: a token says its Secret's name and
    nothing of its time, so that a Secret of an old name brings the old token back.
    """
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": OWN}}
    ]
    for name in names:
        labels = {**OWN, LABEL: name}
        inside = {"name": name, "namespace": NAMESPACE, "labels": labels}
        found += [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": inside, "automountServiceAccountToken": False},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    **inside,
                    "name": f"{name}-{fresh}",
                    "annotations": {"kubernetes.io/service-account.name": name},
                },
                "type": "kubernetes.io/service-account-token",
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": binding(name), "labels": labels},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
            },
        ]
    return found


def binding(name: str) -> str:
    """The name of an operator's ClusterRoleBinding."""
    return f"binder-node:operator:{name}"


def seen(text: str) -> Seen:
    """What :func:`look` printed: kind and operator, one object a line. Pure.

    >>> seen("Secret\\tada\\nServiceAccount\\tada\\n").names
    ('ada',)
    """
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        kind, _, name = line.partition("\t")
        if name:
            found.setdefault(name, set()).add(kind)
    return Seen(tuple((name, frozenset(kinds)) for name, kinds in sorted(found.items())))


@dataclass
class AccessStage:
    """Those of ``kubernetes.operators`` have access, and nobody else by this way."""

    node: Node
    access: Access | None
    name: str = field(default=STAGE)

    @property
    def wanted(self) -> tuple[str, ...]:
        return self.node.spec.kubernetes.operators

    def nothing(self) -> Seen:
        return Seen()

    def inspect(self, report: Reporter) -> Seen:
        """One round trip, by the node's own kubectl; a Secret's content stays where it is.

        Raises:
            StepError: ssh failed, or K3s does not answer.
        """
        del report
        kinds = "serviceaccounts,secrets,clusterrolebindings"
        return seen(
            self._kubectl("look at the operators", f"get {kinds} -n {NAMESPACE} -l {LABEL} -o jsonpath='{FIELDS}'")
        )

    def changes(self, seen: Seen) -> list[Change]:
        made = [Change(STAGE, "create", f"access of operator {name}") for name in self.wanted if name not in seen.whole]
        gone = [Change(STAGE, "delete", f"access of operator {n}") for n in seen.names if n not in self.wanted]
        return [*made, *gone]

    def apply(self, seen: Seen, report: Reporter) -> None:
        """Raises StepError where the API server refuses; every step can be run again."""
        del report
        gone = [name for name in seen.names if name not in self.wanted]
        if gone:
            which = f"-n {NAMESPACE} -l '{LABEL} in ({','.join(gone)})'"
            # The rights first: were the rest cut off, the token would open nothing.
            self._kubectl(
                "take operators' access away",
                f"delete clusterrolebinding {which} && {self._prefix()}delete secret,serviceaccount {which}",
            )
        missing = [name for name in self.wanted if name not in seen.whole]
        if missing:
            self._make(missing)

    def _make(self, names: Iterable[str]) -> None:
        applied = "apply --server-side --force-conflicts --field-manager=binder-node -f -"
        self._kubectl("give operators access", applied, yaml_stream(objects(names, token_hex(4))))

    def renew(self, name: str) -> None:
        """A new token for an operator; the one before ends within ten seconds. Raises StepError."""
        self._kubectl("end the old token", f"delete secret -n {NAMESPACE} -l {LABEL}={name}")
        self._make([name])

    def token(self, name: str) -> tuple[str, str]:
        """The operator's token, and the authority of the API server's certificate as base64.

        Raises:
            InputError: the inventory does not name the operator.
            StepError: `up` has not made the access yet.
            DeadlineError: no controller fills the Secret.
        """
        if name not in self.wanted:
            known = ", ".join(self.wanted) or "nobody"
            right = f"write it into kubernetes.operators and run `up`; there is {known}"
            raise InputError(Problem("", 0, "--operator", f"{name} is no operator of this node", right))
        fields = '{range .items[*]}{.data.token}{" "}{.data.ca\\.crt}{"\\n"}{end}'
        what = f"get secret -n {NAMESPACE} -l {LABEL}={name} -o jsonpath='{fields}'"
        deadline = time.monotonic() + TOKEN_SECONDS
        while True:
            there = self._kubectl(f"fetch the token of {name}", what).splitlines()
            if not there:
                up = f"run `binder-node up {self.node.spec.name}`"
                raise StepError(self.node.spec.name, f"fetch the token of {name}", "there is none", up)
            token, _, authority = there[0].partition(" ")
            if token and authority:
                return base64.b64decode(token).decode("ascii"), authority
            if time.monotonic() > deadline:
                raise DeadlineError(self.node.spec.name, f"the token of {name}", TOKEN_SECONDS, "its Secret is empty")
            time.sleep(0.3)

    def _prefix(self) -> str:
        return f"{sudo(self._reached())}k3s kubectl "

    def _kubectl(self, step: str, what: str, text: str | None = None) -> str:
        access = self._reached()
        done = remote.run(access, self._prefix() + what, timeout=SECONDS, input=text, check=False)
        if done.code != 0:
            reason = done.stderr or f"exit code {done.code}"
            raise StepError(access.name, step, reason, f"run `binder-node up {access.name}`")
        return done.stdout

    def _reached(self) -> Access:
        if self.access is None:
            raise StepError(self.node.spec.name, "reach the machine", "there is none yet", "run `binder-node up` first")
        return self.access


def kubeconfig(spec: Spec, operator: str, token: str, authority: str, server: str) -> str:
    """An operator's kubeconfig: nothing of the admin's is in it. ``authority`` is base64, ``server`` the API's URL.

    Cluster, user and context bear the member's name, as the federation's central deploy expects; the namespace is that
    of its release, or of ours.
    """
    from ruamel.yaml import YAML

    name = spec.federation.member or spec.name
    user = f"{operator}@{name}"
    namespace = name if spec.central else "binder"
    yaml, out = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.width = 1 << 20  # tokens stay on one line
    yaml.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"certificate-authority-data": authority, "server": server}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "namespace": namespace, "user": user}}],
            "current-context": name,
        },
        out,
    )
    return out.getvalue()


def server(address: str) -> str:
    """The API's URL at the node's own address."""
    return f"https://{address}:{API_PORT}"
