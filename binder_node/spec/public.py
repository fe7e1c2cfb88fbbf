"""The sections of the Spec that the world sees a node by: its names, who makes them lead to it, its certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from binder_node.spec.types import KEY, MAIL, HostName, Model, Server, Url


class Names(Model):
    """Public host names; DNS for `binder` and `*.binder` points at the machine."""

    binder: HostName = Field(description="BinderHub's own name: bids.mybinder.org.", examples=["bids.mybinder.org"])
    hub: HostName = Field(description="JupyterHub's name.")
    registry: HostName = Field(description="The image registry's name: it outlives machines, images carry it.")


class NoDns(Model):
    """Names are somebody else's work, and nobody looks whether they lead to the node."""

    kind: Literal["none"] = Field("none", description="Who makes the names lead to the machine.")


# Of every way that has records; the tests of this project name their own servers here.
NAMESERVERS: Any = Field(
    (), description="Servers to ask whether the names lead to the machine; none: all those of the zone."
)


class ManualDns(Model):
    """A person: `up` prints the records and waits until the zone's name servers have them."""

    kind: Literal["manual"] = Field(description="Who makes the names lead to the machine.")
    ttl: int = Field(300, ge=60, le=86400, description="Seconds for which others may remember a record.")
    nameservers: tuple[Server, ...] = NAMESERVERS
    wait: int = Field(1800, ge=1, le=86400, description="Seconds to wait until all name servers have the records.")


class ZoneDns(Model):
    """What every way that writes the records has in common."""

    kind: str
    zone: HostName = Field(description="The zone that holds the names.", examples=["mybinder.org"])
    ttl: int = Field(300, ge=60, le=86400, description="Seconds for which others may remember a record.")
    adopt: bool = Field(False, description="Write over records that lead elsewhere and are not this node's.")
    token_command: tuple[str, ...] = Field(
        (), description="Command that prints the API's token or the key's secret, as a list. Run without a shell."
    )
    nameservers: tuple[Server, ...] = NAMESERVERS
    wait: int = Field(600, ge=1, le=86400, description="Seconds to wait until all name servers have the records.")


class CloudflareDns(ZoneDns):
    """Cloudflare's API, with `CLOUDFLARE_API_TOKEN` (permission: DNS, edit, of the zone)."""

    kind: Literal["cloudflare"] = Field(description="Who makes the names lead to the machine.")
    endpoint: Url = Field("https://api.cloudflare.com/client/v4", description="The API.")


class HetznerDns(ZoneDns):
    """Hetzner's API, with `HCLOUD_TOKEN` of the project that the zone is in."""

    kind: Literal["hetzner"] = Field(description="Who makes the names lead to the machine.")
    endpoint: Url = Field("https://api.hetzner.cloud/v1", description="The API.")


class Rfc2136Dns(ZoneDns):
    """Any name server that takes updates (BIND, Knot, PowerDNS), with the key's secret in `RFC2136_TSIG_SECRET`."""

    kind: Literal["rfc2136"] = Field(description="Who makes the names lead to the machine.")
    # A server of one's own may be asked again and again.
    ttl: int = Field(300, ge=1, le=86400, description="Seconds for which others may remember a record.")
    server: Server = Field(description="The zone's primary server.", examples=["ns1.example.org"])
    key: str = Field(pattern=KEY, description="The TSIG key's name.", examples=["binder-node"])
    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = Field(
        "hmac-sha256", description="The key's algorithm."
    )


Dns = Annotated[NoDns | ManualDns | CloudflareDns | HetznerDns | Rfc2136Dns, Field(discriminator="kind")]


class NoTls(Model):
    """Plain http: for tests."""

    mode: Literal["none"] = Field(description="Where certificates come from.")


class FilesTls(Model):
    """A certificate of your own, for `names.binder` and `names.hub`."""

    mode: Literal["files"] = Field(description="Where certificates come from.")
    certificate: Path = Field(description="PEM chain.", examples=["tls/chain.pem"])
    key: Path = Field(description="PEM private key.", examples=["tls/key.pem"])


class AcmeTls(Model):
    """Certificates for `names.binder` and `names.hub` from Let's Encrypt or another authority that speaks ACME.

    The node's ingress orders and renews them. The names must lead to the machine, and port 80 be open to the world.
    """

    mode: Literal["acme"] = Field(description="Where certificates come from.")
    email: str = Field(
        pattern=MAIL, description="Whom the authority writes to about expiry.", examples=["ops@example.org"]
    )
    directory: Url = Field("https://acme-v02.api.letsencrypt.org/directory", description="The authority's directory.")
    challenge: Literal["http", "tls"] = Field(
        "http", description="How it asks whose the names are: on port 80 (`http`), or on 443 (`tls`)."
    )
    authority: Path | None = Field(
        None, description="PEM file to trust for the directory and its certificates, where the public ones do not do."
    )


Tls = Annotated[NoTls | FilesTls | AcmeTls, Field(discriminator="mode")]
