"""What the registries' answers mean. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from binder_node.layout import CACHE_PORT, PULL_PORT, PUSH_PORT
from binder_node.smoke.checks import RESERVED, Trouble
from binder_node.smoke.registry import INDEX, MANIFEST, Answer, Answers, Ask, Image, blobs_of, digest
from binder_node.spec.model import Spec

NOWHERE = f"{RESERVED}/nowhere"
SHALLOW = (
    Ask("push as push", "push", "push"),
    Ask("push as pull", "push", "pull"),
    Ask("push as nobody", "push", "nobody"),
    Ask("push without a login", "push"),
    Ask("pull as pull", "pull", "pull"),
    Ask("pull as nobody", "pull", "nobody"),
    Ask("pull without a login", "pull"),
    Ask("no such image", "pull", "pull", f"/v2/{NOWHERE}/manifests/none", accept=MANIFEST),
    Ask("upload to pull", "pull", "pull", f"/v2/{NOWHERE}/blobs/uploads/", "POST"),
)
# Of the cache of Docker Hub. A blob that is nowhere tells whether the Hub answers, and is no pull: of a tag it would
# say what it has itself.
CACHE = (
    Ask("cache", "cache"),
    Ask("upload to the cache", "cache", "", f"/v2/{NOWHERE}/blobs/uploads/", "POST"),
    Ask("no such blob", "cache", "", f"/v2/library/busybox/blobs/sha256:{64 * '0'}", "HEAD"),
)
# Who is nobody's business, and the status that says so. 405: the read-only instance takes no upload from anybody.
REFUSED = {
    "push as pull": (401,),
    "push as nobody": (401,),
    "push without a login": (401,),
    "pull as nobody": (401,),
    "pull without a login": (401,),
    "upload to pull": (401, 403, 405),
}


def _logs(spec: Spec) -> str:
    return f"see `binder-node logs {spec.name} registry`; `binder-node up {spec.name}` puts its files right"


def name(found: Answers, spec: Spec) -> Trouble | None:
    """The name that images carry leads to the node itself, on the node: buildkitd pushes by it."""
    if found.addresses == ("127.0.0.1",):
        return None
    where = " and ".join(found.addresses) or "nowhere"
    reason = f"on the node {spec.names.registry} leads to {where}, not to 127.0.0.1: builds cannot push"
    return Trouble(reason, f"/etc/hosts lacks our line: run `binder-node up {spec.name}`")


def push_rights(found: Answers, spec: Spec) -> Trouble | None:
    """Who may push gets in, by the registry's public name."""
    answer = found["push as push"]
    if answer.status == 200:
        return None
    where = f"{spec.names.registry}:{PUSH_PORT}"
    return Trouble(f"{where} does not let in who may push: {answer}", _logs(spec))


def pull_rights(found: Answers, spec: Spec) -> Iterator[Trouble]:
    """Who may pull gets in, and is told of an image that is nowhere that it is nowhere (so the bucket answers)."""
    answer = found["pull as pull"]
    if answer.status != 200:
        yield Trouble(f"port {PULL_PORT} does not let in who may pull: {answer}", _logs(spec))
    elif found["no such image"].status != 404:
        reason = f"asked for an image that is not there, the registry says {found['no such image']}, not 404"
        yield Trouble(reason, f"the bucket behind it: `binder-node probe {spec.name}`")


def refusals(found: Answers, spec: Spec) -> Iterator[Trouble]:
    """Nobody else gets in."""
    for what, right in REFUSED.items():
        answer = found[what]
        if answer.status not in right:
            yield Trouble(f"{what}: {answer}; it has to be refused with {right[0]}", _logs(spec))


def cache(found: Answers, spec: Spec) -> Iterator[Trouble]:
    """The cache of Docker Hub answers those on the node, and keeps nothing that anybody sends it."""
    logs = f"see `binder-node logs {spec.name} hubcache`; until then builds ask Docker Hub itself, and meet its limit"
    if found["cache"].status != 200:
        yield Trouble(f"port {CACHE_PORT} is no cache of Docker Hub: {found['cache']}", logs)
    elif found["upload to the cache"].status not in (401, 403, 405):
        yield Trouble(
            f"the cache takes what is pushed: {found['upload to the cache']}", f"`binder-node up {spec.name}`"
        )


def hub(found: Answers, spec: Spec) -> Trouble | None:
    """The cache gets answers from Docker Hub."""
    answer = found["no such blob"]
    if answer.status == 404:
        return None
    reason = f"the cache gets no answer from Docker Hub ({answer}): base images that it does not have cannot be pulled"
    return Trouble(reason, f"see `binder-node logs {spec.name} hubcache`, registry.cache_from and its login")


def containerd(code: int, said: str, image: str, spec: Spec) -> Trouble | None:
    """``said`` is what the CRI answered to a pull of ``image``, which is nowhere: that it is not found, when it found
    its way and was let in (gRPC's code, or the end of the sentence where crictl leaves the code out)."""
    if code != 0 and ("code = NotFound" in said or said.strip().strip('"').endswith(": not found")):
        return None
    last = (said.strip().splitlines() or [f"exit code {code}"])[-1]
    reason = f"containerd does not get to the registry by its name ({image}): {last}"
    return Trouble(reason, f"/etc/rancher/k3s/registries.yaml says how: run `binder-node up {spec.name}`")


def pulled(code: int, said: str, image: str, spec: Spec) -> Trouble | None:
    """``said`` is what the CRI answered to a pull of ``image``, which is there."""
    if code == 0:
        return None
    last = (said.strip().splitlines() or [f"exit code {code}"])[-1]
    return Trouble(f"containerd did not pull {image}: {last}", _logs(spec))


def pushed(answer: Answer, spec: Spec) -> Trouble | None:
    """A new image was taken."""
    if answer.status == 201:
        return None
    step = f"{answer.step}: " if answer.step else ""
    reason = f"a push by {spec.names.registry}:{PUSH_PORT} failed: {step}{answer}"
    return Trouble(reason, f"the bucket behind it: `binder-node probe {spec.name}`; {_logs(spec)}")


def same(found: Answers, image: Image) -> Iterator[Trouble]:
    """What comes back is what was pushed, byte for byte."""
    for what, wanted in wanted_back(image).items():
        answer = found[what]
        if answer.status != 200:
            yield Trouble(f"{what} was pushed and cannot be pulled: {answer}", "both instances need the same bucket")
        elif answer.sha256 != wanted:
            yield Trouble(f"{what}: pushed {wanted}, pulled {answer.sha256}", "the bucket returns other bytes")


def wanted_back(image: Image) -> dict[str, str]:
    """Digest of each thing that is pulled again, by its ask's name."""
    found = {"the manifest by its tag": image.digest, "the manifest by its digest": image.digest}
    return found | {f"blob {number}": digest(blob) for number, blob in enumerate(image.blobs, 1)}


def pulls(image: Image) -> tuple[Ask, ...]:
    """The asks of :func:`wanted_back`."""
    root = f"/v2/{image.repository}"
    return (
        Ask("the manifest by its tag", "pull", "pull", f"{root}/manifests/{image.tag}", accept=MANIFEST),
        Ask("the manifest by its digest", "pull", "pull", f"{root}/manifests/{image.digest}", accept=MANIFEST),
        *(
            Ask(f"blob {number}", "pull", "pull", f"{root}/blobs/{digest(blob)}")
            for number, blob in enumerate(image.blobs, 1)
        ),
    )


def write_refused(answer: Answer, who: str) -> Trouble | None:
    """A push without push rights was refused."""
    if answer.status in (401, 403, 405):
        return None
    return Trouble(f"{who} could push: {answer} at the step «{answer.step}»", "whoever pulls could replace images")


# --- an image that BinderHub had built -----------------------------------------------------------------------------


def one_manifest(answer: Answer, image: str) -> Trouble | None:
    """The tag is one manifest, as BinderHub asks for it: for an index it builds anew at each launch."""
    if answer.status != 200:
        return Trouble(f"{image} was built and is not in the registry: {answer}", "see the build's log: it has to push")
    if answer.type.partition(";")[0] == MANIFEST:
        return None
    kind = "an index" if answer.type.partition(";")[0] == INDEX else answer.type or "of no type"
    reason = f"{image} is {kind}, not one OCI manifest: BinderHub may build it anew at each launch"
    return Trouble(reason, "builds must leave attestations out, and name one platform")


def layers_there(found: Answers, manifest: str) -> Iterator[Trouble]:
    """Config and every layer can be had, at the size that the manifest says."""
    for one, size in blobs_of(json.loads(manifest)).items():
        answer = found[one]
        if answer.status != 200 or answer.size != size:
            seen = f"{answer.size} of {size} bytes" if answer.status == 200 else str(answer)
            yield Trouble(f"layer {one}: {seen}", "the next node cannot start this image: delete the tag, build anew")
