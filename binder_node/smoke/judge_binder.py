"""What BinderHub and JupyterHub answer, judged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from binder_node.cluster.served import Served
from binder_node.smoke.checks import Trouble
from binder_node.spec.model import Spec

# So many pods below its quota the federation's redirector takes a member out (images/federation-redirect/app.py).
REDIRECTOR_MARGIN = 10
# How BinderHub calls its checks (binderhub/health.py).
REGISTRY, HUB, QUOTA = "Docker registry", "JupyterHub API", "Pod quota"


def versions(found: Mapping[str, Any], build_image: str, spec: Spec) -> Trouble | None:
    """``/versions`` tells BinderHub's version, and the build image that the release's values name."""
    if not found.get("binderhub"):
        return Trouble(f"/versions names no version of BinderHub: {dict(found)}", "does something else answer there?")
    shown = (found.get("builder_info") or {}).get("build_image")
    if shown != build_image:
        return Trouble(
            f"/versions says build image {shown}, the values say {build_image}: the federation compares it",
            f"run `binder-node up {spec.name}`",
        )
    return None


def health_form(found: Mapping[str, Any]) -> Trouble | None:
    """``/health`` has an answer of BinderHub's form, with all the checks that there are."""
    checks = found.get("checks")
    if isinstance(checks, list) and isinstance(found.get("ok"), bool):
        missing = {REGISTRY, HUB, QUOTA} - {check.get("service") for check in checks}
        if not missing:
            return None
        return Trouble(f"/health has no {' and no '.join(sorted(missing))}", "is use_registry off in your values?")
    return Trouble(f"/health is none of BinderHub's: {dict(found)}", "does something else answer there?")


def service(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One check of ``/health``; empty where there is none."""
    return next((check for check in found.get("checks") or () if check.get("service") == name), {})


def registry(found: Mapping[str, Any], spec: Spec) -> Trouble | None:
    """BinderHub itself gets to the registry."""
    if service(found, REGISTRY).get("ok"):
        return None
    reason = "BinderHub cannot ask the registry: it builds everything anew, and the federation sends nobody"
    return Trouble(reason, f"see `binder-node logs {spec.name} binder`; is config.DockerRegistry in your values?")


def hub(found: Mapping[str, Any], spec: Spec) -> Trouble | None:
    """BinderHub itself gets to JupyterHub."""
    if service(found, HUB).get("ok"):
        return None
    return Trouble(
        "BinderHub cannot reach JupyterHub", f"see `binder-node logs {spec.name} binder`, and proxy, and hub"
    )


def quota(found: Mapping[str, Any], spec: Spec) -> Trouble | None:
    """There is room for launches: neither drained nor full, as BinderHub counts."""
    seen = service(found, QUOTA)
    limit, total = seen.get("quota"), int(seen.get("total_pods") or 0)
    if limit is None:
        return Trouble("BinderHub has no quota: the node fills until it falls over", "set binderhub.quota")
    if limit == 0:
        why = "the inventory says so" if spec.binderhub.quota == 0 else f"the inventory says {spec.binderhub.quota}"
        return Trouble(f"the quota is 0 ({why}): nobody can launch", "set binderhub.quota and run `up` to undrain")
    if total >= limit:
        return Trouble(f"{total} pods of {limit}: nobody can launch", "sweep ended pods; raise binderhub.quota")
    if spec.federation.member and total + REDIRECTOR_MARGIN >= limit:
        left = f"{total} pods of {limit}: with {REDIRECTOR_MARGIN} or fewer left the federation sends nobody"
        return Trouble(left, "raise binderhub.quota, or wait")
    return None


def status(what: str, got: int, wanted: int, remedy: str) -> Trouble | None:
    """An HTTP status is the one that has to be."""
    return None if got == wanted else Trouble(f"{what}: HTTP {got}, not {wanted}", remedy)


def certificates(found: Iterable[Served]) -> Iterator[Trouble]:
    """Everybody trusts what the node shows."""
    for one in found:
        if one.trouble:
            yield Trouble(one.warning, "see docs/how-to/have-certificates.md")


def renewals(found: Iterable[Served]) -> Iterator[Trouble]:
    """What the node shows does not end soon: until it does, all else works."""
    for one in found:
        if one.warning and not one.trouble:
            yield Trouble(one.warning, "see docs/how-to/have-certificates.md")
