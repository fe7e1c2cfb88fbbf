"""Tokens of others' APIs: they are the operator's, so they come from the environment and are never kept here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from binder_node.errors import InputError, Problem
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Spec

Kind = Literal["hetzner", "cloudflare", "tsig"]
VARIABLES: dict[Kind, str] = {
    "hetzner": "HCLOUD_TOKEN",
    "cloudflare": "CLOUDFLARE_API_TOKEN",
    "tsig": "BINDER_NODE_TSIG_SECRET",
}


def token(spec_or_name: Spec | str, kind: Kind, environ: Mapping[str, str] | None = None) -> Masked:
    """The token for ``kind``.

    Raises:
        InputError: there is none.
    """
    name = spec_or_name if isinstance(spec_or_name, str) else spec_or_name.name
    variable = VARIABLES[kind]
    found = (os.environ if environ is None else environ).get(variable, "").strip()
    if not found:
        raise InputError(Problem("", 0, name, f"there is no token for {kind}", f"set {variable}"))
    return Masked(found)
