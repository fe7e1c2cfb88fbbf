"""What went wrong on members of the federation, by the operations field guide's numbers; and what answers to it here.

The words are short and our own. ``#n`` is an issue or pull request of jupyterhub/mybinder.org-deploy. Which check
catches a failure says the check (its ``guide``). ``otherwise``: why no check has to, or what besides a check there is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    number: int
    words: str
    source: str = ""
    otherwise: str = ""


FAILURES = (
    Failure(1, "the kubelet went on with 110 pods under a quota of 300", "#3278, #3284"),
    Failure(2, "finished pods filled the quota, and /health called them users", "#3284"),
    Failure(3, "finished and orphaned pods piled up for days", "#3391, #2670, #2686"),
    Failure(4, "images came faster than they were collected: disk pressure in a loop", "#3432, #3433, #3435"),
    Failure(5, "the kubelet's own image limits beside a build cache on the same disk", "#3230"),
    Failure(6, "a build cache limited to more than its disk; one mount full, another empty", "#3587, #3804, #3805"),
    Failure(7, "images were pulled one after the other: seconds of work after half an hour", "#3080"),
    Failure(8, "too many open files: inotify's limits, lost at a reboot", "#3173"),
    Failure(9, "builds without limits of memory and disk", "#3680, #3177, #3204, #3211"),
    Failure(
        10,
        "a new member with a high weight was stormed with builds",
        "#3173",
        "no property of a node: begin with a small `federation.weight`",
    ),
    Failure(11, "large pushes ran into time limits", "#3175, #3181, #3183, #3185"),
    Failure(12, "a cleaner removed layers during pushes, and cordoned the only node", "#3181, #3194, #3184"),
    Failure(13, "a maintenance job was dead for days", ""),
    Failure(14, "an MTU of 1500 in builds broke some sites", "#3235"),
    Failure(15, "builds hung at the builder's socket, which was a folder", "#3413, #3428, BinderHub #1828"),
    Failure(
        16,
        "builds of more than an hour nearly always fail",
        "#3794",
        "a value of the chart (`KubernetesCleaner.max_age`), in `values/base.yaml`",
    ),
    Failure(
        17,
        "BinderHub refuses a launch whose request does not accept an event stream",
        "#3689",
        "a fault of who asks: every launch of `binder-node`, a check's too, says so",
    ),
    Failure(18, "machine and bucket in different datacenters", "#3182"),
    Failure(19, "two members on one registry or one bucket", "#3299, #3300, #3376"),
    Failure(20, "the object store throttled or was down", ""),
    Failure(
        21,
        "nothing expired in the registry: 65 TB",
        "#3676",
        "growth shows over months, in the provider's bill; on the node's own disk in `machine.room`",
    ),
    Failure(
        22,
        "Harbor made itself new secrets at each upgrade",
        "#3694, #3697",
        "there is no Harbor; the registry's secrets are the node's own, and a second `up` changes nothing",
    ),
    Failure(23, "pods could not reach their own registry by its public name", ""),
    Failure(24, "a second Service wanted ports 80 and 443", "#3812"),
    Failure(
        25,
        "a key in the wrong case was silently ignored",
        "",
        "an unknown key of an inventory is an error with its line; the chart's schema judges the values",
    ),
    Failure(26, "one member's settings carried another's address for months", ""),
    Failure(27, "the provider locked a server that scanned ports", "#3238, #3239"),
    Failure(28, "client certificates ended after a year", "#3630"),
    Failure(
        29,
        "the Kubernetes client broke with a new urllib3",
        "#3542",
        "no property of a node: both are bounded and locked together, and tested so",
    ),
    Failure(30, "/health was green for hours while no image could be pulled", "#3100"),
    Failure(
        31,
        "Prometheus' full volume broke deploys; logs went with their pods",
        "#3273, #3777, #3640",
        "there is no Prometheus on a node; any full filesystem shows in `machine.room`",
    ),
    Failure(32, "a reboot brought swap back", "#3040"),
    Failure(
        33,
        "a prime with an old version starved all others; its front page was forgotten",
        "#3396",
        "no property of one node: `binder-node federation check` asks all members as the redirector does",
    ),
)
