"""API tokens of providers and DNS, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from binder_node.errors import InputError, Problem
from binder_node.node import Node
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Spec

VARIABLES = {
    "hcloud": "HCLOUD_TOKEN",
    "cloudflare": "CLOUDFLARE_API_TOKEN",
    "rfc2136": "RFC2136_TSIG_SECRET",  # lego's
}


def token(where: Node | Spec | str, kind: str, environ: Mapping[str, str] | None = None) -> Masked:
    """The token of ``kind`` for the node ``where``.

    Raises:
        InputError: there is none.
    """
    name = where if isinstance(where, str) else where.name if isinstance(where, Spec) else where.spec.name
    variable = VARIABLES[kind]
    found = (os.environ if environ is None else environ).get(variable, "").strip()
    if not found:
        raise InputError(
            Problem("", 0, name, f"there is no API token for {kind}", f"set {variable} in the environment")
        )
    return Masked(found)
