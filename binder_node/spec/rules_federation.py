"""Rules of a member that its federation deploys; they stand in :data:`binder_node.spec.rules.RULES` once imported."""

from __future__ import annotations

from collections.abc import Iterator

from binder_node.spec.model import NodeStorage, Spec
from binder_node.spec.rules import Found, rule

HOW = (("deploy",),)


@rule("federation")
def a_sponsor_has_a_page(spec: Spec) -> Iterator[Found]:
    if spec.federation.sponsor and spec.federation.sponsor_url is None:
        wrong = f"is missing: the banner links {spec.federation.sponsor} to it"
        yield Found(("federation", "sponsor_url"), wrong, "write its URL", (("federation", "sponsor"),))


@rule("deploy", "federation")
def a_central_deploy_knows_the_member(spec: Spec) -> Iterator[Found]:
    if spec.central and not spec.federation.member:
        wrong = "is missing: the federation's files are called so"
        yield Found(("federation", "member"), wrong, "write its name in the federation's config, like bids-ovh", HOW)


@rule("deploy", "storage")
def a_central_deploy_brings_its_registry(spec: Spec) -> Iterator[Found]:
    if spec.central and isinstance(spec.storage, NodeStorage):
        wrong = "the federation's registry is a pod, and MinIO on the node answers no pod"
        yield Found(("storage", "kind"), wrong, "write kind: s3, with a bucket of your provider's", HOW)


@rule("deploy", "tls")
def a_central_deploy_orders_certificates(spec: Spec) -> Iterator[Found]:
    if spec.central and spec.tls.mode != "acme":
        wrong = f"{spec.tls.mode}: the federation's chart orders certificates by ACME for all its names"
        yield Found(("tls", "mode"), wrong, "write mode: acme", HOW)


@rule("deploy", "kubernetes")
def a_central_deploy_gets_in(spec: Spec) -> Iterator[Found]:
    if not spec.central:
        return
    if not spec.kubernetes.api_from:
        wrong = "lets nobody in: the central deploy talks to the API itself"
        right = "write the networks that it comes from; GitHub's runners may have any address: [0.0.0.0/0]"
        yield Found(("kubernetes", "api_from"), wrong, right, HOW)
    if not spec.kubernetes.operators:
        wrong = "names nobody: the central deploy needs a kubeconfig of its own"
        yield Found(("kubernetes", "operators"), wrong, "write a name for it, like [deploy]", HOW)


@rule("deploy", "binderhub")
def a_central_deploy_reads_no_values_of_ours(spec: Spec) -> Iterator[Found]:
    if spec.central and spec.binderhub.values:
        wrong = "are not read by the federation's central deploy"
        yield Found(("binderhub", "values"), wrong, "take them out, and write them into the federation's chart", HOW)
