"""The settings of K3s's own Traefik: https for everybody, and certificates by ACME. Pure.

K3s lays a HelmChartConfig over the values of the chart that it brings. Where names of values differ between versions
of the chart, Traefik's own arguments stand here in their place.
"""

from __future__ import annotations

import hashlib
from typing import Any

from binder_node.layout import ACME_STATE
from binder_node.spec.model import Spec
from binder_node.spec.public import AcmeTls, NoTls

RESOLVER = "acme"
# In Traefik's container.
ACME_MOUNT, AUTHORITY_MOUNT = "/acme", "/authority"
STORE = "acme.json"
AUTHORITY = "binder-node-authority"
# By name Traefik would send people to the port that its container listens on.
REDIRECT = (
    "--entrypoints.web.http.redirections.entrypoint.to=:443",
    "--entrypoints.web.http.redirections.entrypoint.scheme=https",
    "--entrypoints.web.http.redirections.entrypoint.permanent=true",
)
# Everybody comes through it. K3s's chart asks for nothing: on a busy machine it would get what all others leave.
RESOURCES = {"requests": {"cpu": "100m", "memory": "64Mi"}}
CHALLENGES = {"http": "httpchallenge.entrypoint=web", "tls": "tlschallenge=true"}


def ingress_annotations(spec: Spec) -> dict[str, str]:
    """Of both Ingress objects."""
    if not isinstance(spec.tls, AcmeTls):
        return {}
    prefix = "traefik.ingress.kubernetes.io/router"
    return {
        f"{prefix}.entrypoints": "websecure",
        f"{prefix}.tls": "true",
        f"{prefix}.tls.certresolver": RESOLVER,
    }


def traefik(spec: Spec, authority: str) -> dict[str, Any]:
    """The chart's values. ``authority`` is the text of ``tls.authority``, or empty."""
    if isinstance(spec.tls, NoTls):
        return {"resources": RESOURCES}
    more = acme(spec, spec.tls, authority) if isinstance(spec.tls, AcmeTls) else {}
    return {**more, "additionalArguments": [*REDIRECT, *more.get("additionalArguments", ())], "resources": RESOURCES}


def acme(spec: Spec, tls: AcmeTls, authority: str) -> dict[str, Any]:
    """The chart's values for :data:`RESOLVER`: its account and certificates lie in the state folder."""
    settings = [
        f"email={tls.email}",
        f"caserver={tls.directory}",
        f"storage={ACME_MOUNT}/{STORE}",
        "keytype=EC256",
        CHALLENGES[tls.challenge],
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "acme", "hostPath": {"path": str(spec.machine.state / ACME_STATE), "type": "Directory"}}
    ]
    mounts: list[dict[str, Any]] = [{"name": "acme", "mountPath": ACME_MOUNT}]
    if authority:
        # Named by its content: Traefik reads it when it starts, and starts anew when its mounts change.
        where = f"{AUTHORITY_MOUNT}/{hashlib.sha256(authority.encode()).hexdigest()[:8]}"
        settings.append(f"cacertificates={where}/ca.pem")
        volumes.append({"name": "authority", "configMap": {"name": AUTHORITY}})
        mounts.append({"name": "authority", "mountPath": where, "readOnly": True})
    return {
        "additionalArguments": [f"--certificatesresolvers.{RESOLVER}.acme.{setting}" for setting in settings],
        "additionalVolumeMounts": mounts,
        "deployment": {"additionalVolumes": volumes},
        # Two at once would order and write the same certificates.
        "updateStrategy": {"type": "Recreate"},
    }
