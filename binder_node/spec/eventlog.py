"""What an inventory says of the log of launches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from binder_node.spec.types import LOG_NAME, Model


class Events(Model):
    """The log of launches: written by BinderHub, kept on the node, archived in the bucket (`binder-node events`)."""

    keep: int = Field(
        90, ge=7, le=3650, description="Days that the node itself keeps; what is in the bucket's archive stays there."
    )
    collector: Literal["none", "google"] = Field(
        "none",
        description="Where launches are told besides, for the federation's own archive: `google`, to Google Cloud "
        "Logging with the service account's key that the federation gives you "
        "(`binder-node secrets set NODE tokens.collector`).",
    )
    log: str = Field(
        "binderhub-events-text",
        pattern=LOG_NAME,
        description="Name of the collector's log; the federation's own.",
    )
