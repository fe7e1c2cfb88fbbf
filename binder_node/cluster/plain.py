"""The release as plain Helm values, manifests and one shell script. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from binder_node.cluster.dump import yaml_stream
from binder_node.cluster.helm import DIGEST, HISTORY
from binder_node.cluster.release import NEEDED
from binder_node.cluster.values import Composed, Values, revealed
from binder_node.layout import K3S_KUBECONFIG, NAMESPACE, RELEASE
from binder_node.secrets.masked import Masked

VALUES, SECRETS, CHART = "values.yaml", "secret-values.yaml", "binderhub.tgz"
CERTIFICATE, OPERATORS, SUMS = "certificate.yaml", "operators.yaml", "release.sha256"

Files = dict[str, tuple[bytes, int]]


def plain(
    composed: Composed,
    digest: str,
    chart: str,
    certificate: Mapping[str, Any] | None = None,
    operators: Sequence[Mapping[str, Any]] = (),
) -> Files:
    """Contents and modes by relative path; the chart and Helm are to be put beside them.

    ``digest`` is what :class:`~binder_node.cluster.release.ReleaseStage` marks its revisions with, ``chart`` the
    chart's own SHA-256.
    """
    public, secret = parted(composed.values)
    files = {
        VALUES: ((_HEAD + yaml_stream([public])).encode(), 0o644),
        SECRETS: (yaml_stream([revealed(secret)]).encode(), 0o600),
        "release.sh": (_script(digest, certificate is not None, bool(operators)).encode(), 0o700),
    }
    sums = {**{name: hashlib.sha256(files[name][0]).hexdigest() for name in (VALUES, SECRETS)}, CHART: chart}
    files[SUMS] = ("".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode(), 0o644)
    if certificate is not None:
        files[CERTIFICATE] = (yaml_stream([dict(certificate)]).encode(), 0o600)
    if operators:
        files[OPERATORS] = (yaml_stream([dict(item) for item in operators]).encode(), 0o600)
    return files


_HEAD = f"# Values of the BinderHub chart; what is secret is in {SECRETS}, which Helm lays over these.\n"


def parted(values: Values) -> tuple[Values, Values]:
    """What may be read, and what may not: a list that holds a secret is one, since Helm replaces lists whole.

    >>> public, secret = parted({"a": {"b": 1, "c": Masked("x")}, "d": [Masked("y"), 2]})
    >>> public, revealed(secret)
    ({'a': {'b': 1}}, {'a': {'c': 'x'}, 'd': ['y', 2]})
    """
    public: Values = {}
    secret: Values = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            ours, theirs = parted(value)
            if ours:
                public[key] = ours
            if theirs:
                secret[key] = theirs
        else:
            (secret if _holds(value) else public)[key] = value
    return public, secret


def _holds(value: Any) -> bool:
    if isinstance(value, Masked):
        return True
    if isinstance(value, dict):
        return any(_holds(item) for item in value.values())
    return isinstance(value, list) and any(_holds(item) for item in value)


def _script(digest: str, certificate: bool, operators: bool) -> str:
    lines = [
        "#!/bin/sh",
        "# Makes the release. Run it as root on the machine, or elsewhere with KUBECONFIG and PATH set to your own.",
        "set -eu",
        'cd "$(dirname "$0")"',
        f"export KUBECONFIG=${{KUBECONFIG:-{K3S_KUBECONFIG}}}",
        'PATH="$PWD/bin:/usr/local/bin:$PATH"',
        "# K3s makes the namespace from its manifests within seconds of its start.",
        f"kubectl wait --for=create --timeout=120s namespace/{NAMESPACE}",
    ]
    if certificate:
        lines.append(f"kubectl apply --server-side --force-conflicts -f {CERTIFICATE}")
    if operators:
        lines.append(f"kubectl apply --server-side --force-conflicts --field-manager=binder-node -f {OPERATORS}")
    lines += [
        "# The label says which chart and values these are, as long as they are; it tells binder-node alone.",
        f"if sha256sum --check --status {SUMS}; then made={digest}; else made=changed; fi",
        f"helm upgrade --install {RELEASE} {CHART} --namespace {NAMESPACE} --values {VALUES} --values {SECRETS} \\",
        f"    --history-max={HISTORY} --labels={DIGEST}=$made --hide-notes --force-conflicts",
        f"kubectl rollout status --namespace {NAMESPACE} --timeout=600s {' '.join(f'deployment/{n}' for n in NEEDED)}",
    ]
    return "\n".join(lines) + "\n"
