"""What an inventory says of the node's own metrics, and of whom its alerts reach."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from binder_node.spec.quantity import Quantity
from binder_node.spec.types import MAIL, MAIL_SERVER, STREAM, Model, Url

MailAddress = Annotated[str, StringConstraints(pattern=MAIL)]
Channel = Literal["webhook", "mail", "zulip"]


class Metrics(Model):
    """Prometheus on the node, with a store that stays small. With `deploy: federation` the federation's chart brings
    its own, and there is none of ours."""

    enabled: bool = Field(description="Whether the node measures itself, and tells of what is wrong.")
    keep: int = Field(30, ge=1, le=365, description="Days for which measurements are kept.")
    disk: Quantity = Field(description="What they may take of the disk; the oldest go first.")
    memory: Quantity = Field(description="What Prometheus may use of the memory.")


class Alerts(Model):
    """Whom the node tells that something is wrong. Its addresses' secret parts are secrets: `binder-node secrets set
    NODE tokens.NAME`."""

    to: tuple[Channel, ...] = Field(
        (),
        description="Ways to tell it, each gets everything: `webhook`, the URL kept as `tokens.webhook`, in "
        "Alertmanager's own form; `mail`; `zulip`.",
        examples=[["mail"]],
    )
    mail_to: tuple[MailAddress, ...] = Field((), description="Who gets a mail.", examples=[["ops@example.org"]])
    mail_from: MailAddress | None = Field(None, description="The mail's sender.", examples=["bids-1@example.org"])
    mail_server: str | None = Field(
        None,
        pattern=MAIL_SERVER,
        description="Server and port that take the mail, by STARTTLS (465: TLS).",
        examples=["smtp.example.org:587"],
    )
    mail_user: str = Field("", description="Login there; its password is kept as `tokens.mail`. None: no login.")
    zulip: Url | None = Field(
        None,
        description="The Zulip server; the API key of its bot for the integration *Alertmanager* is kept as "
        "`tokens.zulip`.",
        examples=["https://example.zulipchat.com"],
    )
    zulip_stream: str | None = Field(None, pattern=STREAM, description="Its channel.", examples=["binder alerts"])
    deadman: bool = Field(
        False,
        description="Whether the URL kept as `tokens.deadman` is called every five minutes, for as long as all of this "
        "works. A service elsewhere tells you when the calls end.",
    )
