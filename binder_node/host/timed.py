"""What a timer starts, as systemd has it: a service that gives way to people's launches, and its timer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from binder_node.host.wanted import unit_file

# People's launches come first.
LAST = (("Nice", "15"), ("IOSchedulingClass", "idle"))


def service(
    about: str,
    after: str,
    work: Sequence[tuple[str, str]],
    *,
    folder: str = "",
    also: str = "",
    unit: Sequence[tuple[str, str]] = (),
    rank: Sequence[tuple[str, str]] = LAST,
    bounded: bool = False,
) -> str:
    """One run from its beginning to its end, that changes no more of the machine than it must.

    ``work`` are lines of its own, ``ExecStart`` first; ``unit`` those of its first section. It writes into ``folder``,
    which others do not read, and to paths in ``also``; into nothing without one. ``bounded``: with no capability.
    """
    return unit_file(
        Unit=[
            ("Description", f"{about} (binder-node)"),
            ("After", after),
            *([("RequiresMountsFor", folder)] if folder else []),
            *unit,
        ],
        Service=[
            ("Type", "oneshot"),
            *work,
            *rank,
            *([("UMask", "0077")] if folder else []),
            ("NoNewPrivileges", "yes"),
            *([("CapabilityBoundingSet", "")] if bounded else []),
            ("ProtectSystem", "strict"),
            *([("ReadWritePaths", f"{folder} {also}".rstrip())] if folder else []),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
        ],
    )


def timer(about: str, first: str, every: str, *, exact: str = "1min", spread: str = "") -> str:
    """``first`` after it is started, then ``every`` after each end; times as systemd writes them.

    ``exact``: how much later it may be, to wake the machine once for several. ``spread``: and how much at random:
    members of one federation are made from the same inventories, and their bucket need not hear all at once.
    """
    return unit_file(
        Unit=[("Description", f"Timer of {about} (binder-node)")],
        Timer=[
            ("OnActiveSec", first),
            ("OnUnitInactiveSec", every),
            ("AccuracySec", exact),
            *([("RandomizedDelaySec", spread)] if spread else []),
        ],
        Install=[("WantedBy", "timers.target")],
    )
