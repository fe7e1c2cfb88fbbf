"""What a launch showed, judged. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from binder_node.binder.launch import Launched
from binder_node.smoke.checks import Trouble
from binder_node.smoke.reach import reached
from binder_node.spec.model import Spec

# What a server tells of its rights: three lines of /proc/self/status, whose it is, and whether it holds a token.
RIGHTS = frozenset(("CapEff", "CapBnd", "NoNewPrivs", "uid", "token"))


def built(launch: Launched, spec: Spec) -> Trouble | None:
    """A branch that nobody had built was built."""
    if launch.phases[:1] == ["built"]:
        reason = "a branch that is new was said to be built: BinderHub asks another registry, or under another name"
        return Trouble(reason, "look at image_prefix and DockerRegistry.url in your values")
    if "built" in launch.phases:
        return None
    return Trouble(f"it was not built: {_last(launch)}", f"docs/how-to/see-what-a-build-did.md; {_logs(spec)}")


def launched(launch: Launched, spec: Spec) -> Trouble | None:
    """What was built came up as a server."""
    if launch.phases[-1:] == ["ready"]:
        return None
    return Trouble(f"the image was built, its server did not come up: {_last(launch)}", _logs(spec))


def relaunched(launch: Launched, reasons: Sequence[str], spec: Spec) -> Iterator[Trouble]:
    """The same again: no build, and the kubelet pulled it. ``reasons`` are those of the pod's events."""
    if launch.phases[:1] != ["built"]:
        begun = launch.phases[0] if launch.phases else "nothing"
        reason = f"a second launch of the same commit began with {begun}, not with built: it builds anew"
        yield Trouble(reason, "the image in the registry has to be one OCI manifest, and BinderHub has to see it")
    if launch.phases[-1:] != ["ready"]:
        yield Trouble(f"the second launch failed: {_last(launch)}", _logs(spec))
    elif "Pulling" not in reasons:
        reason = f"the kubelet did not pull the image that was taken off the node: {', '.join(reasons) or 'no events'}"
        yield Trouble(reason, "something else put it there: is a mirror or a preloader at work?")


def code(output: str, ok: bool, wanted: str) -> Trouble | None:
    """What code printed is what it had to."""
    if ok and output.strip() == wanted:
        return None
    last = (output.strip().splitlines() or ["nothing"])[-1]
    return Trouble(f"code in the server printed {last[:200]!r}, not {wanted!r}", "is its memory limit too small?")


def walls(found: Mapping[str, str], world: str, what: str) -> Iterator[Trouble]:
    """Nothing was reached but the world. ``what`` says from where it was tried."""
    if not found:
        yield Trouble(f"{what} printed no result of the probe", "the repository's image needs python3")
        return
    if found.get(world) != "reached":
        reason = f"{what} does not reach {world} ({found.get(world, 'was not tried')}): refusals prove nothing"
        yield Trouble(reason, "users cannot fetch anything either: see docs/explanation/firewall.md")
    if open_ := [name for name in reached(found) if name != world]:
        yield Trouble(
            f"{what} reaches {', '.join(open_)}", "see docs/explanation/firewall.md; drain the node until then"
        )


def rights(output: str) -> Iterator[Trouble]:
    """A user's server has no rights that it does not need: ``output`` is what it says of itself, as JSON."""
    try:
        found = json.loads(output)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() >= RIGHTS:
        yield Trouble(f"a user's server does not tell its rights: {output.strip()[-200:]}", "the image needs python3")
        return
    remedy = "your values undo values/security.yaml"
    if found["token"] != "absent":
        yield Trouble("a user's server holds a token for the Kubernetes API", remedy)
    if int(found["uid"]) == 0:
        yield Trouble("a user's server runs as root", remedy)
    if found["NoNewPrivs"] != "1":
        yield Trouble("programs in a user's server may gain rights (NoNewPrivs is not set)", remedy)
    if int(found["CapEff"], 16) or int(found["CapBnd"], 16):
        held = f"CapEff {found['CapEff']}, CapBnd {found['CapBnd']}"
        yield Trouble(f"a user's server has capabilities: {held}", remedy)


def _last(launch: Launched) -> str:
    """How far it came, and what it said last."""
    said = [line.strip() for line in (launch.message or launch.log).splitlines() if line.strip()]
    phase = next((phase for phase in reversed(launch.phases) if phase != "failed"), "the request")
    return f"after {phase}: {said[-1][:300] if said else 'no word'}"


def _logs(spec: Spec) -> str:
    return f"see `binder-node logs {spec.name} binder`"
