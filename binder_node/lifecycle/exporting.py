"""A node's files for a federation that deploys its members centrally."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

from binder_node.errors import InputError, Problem
from binder_node.federation.export import export, template_path
from binder_node.federation.register import Files, Made
from binder_node.host.k3s import kubelet
from binder_node.lifecycle.opened import Opened


def exporter(opened: Opened, *, filled: bool) -> tuple[tuple[str, ...], Callable[[Files, Files | None], Made]]:
    """The paths of the files, and what compares them with those of a checkout. ``filled``: the member's secrets are
    there, so that it needs no template for them.

    Raises:
        InputError: the inventory is not of a member that its federation deploys.
    """
    spec = opened.spec
    if not spec.central:
        right = "write deploy: federation, or `up` makes the release from here and there is nothing to export"
        raise InputError(Problem(str(opened.inventory), 0, "deploy", "is here", right))
    files = export(spec, _yaml(kubelet(spec)), opened.pins.entries["k3s"].version)
    if filled:
        del files[template_path(spec.federation.member)]

    def make(before: Files, pages: Files | None) -> Made:
        del pages
        changed: dict[str, str | None] = {path: text for path, text in files.items() if before.get(path) != text}
        return Made(f"Files of member {spec.federation.member}", changed)

    return tuple(files), make


def _yaml(document: object) -> str:
    from ruamel.yaml import YAML

    yaml, out = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.dump(document, out)
    return out.getvalue()
