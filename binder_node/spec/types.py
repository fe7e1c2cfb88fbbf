"""What the sections of the Spec are made of: the strict base, texts by their patterns, and the patterns in words."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from binder_node.spec.window import WINDOW

# RFC 1123 labels; the node's name ends up in host names, unit names and Kubernetes objects.
NODE_NAME = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"
PREDECESSOR = r"^([a-z]([a-z0-9-]{0,38}[a-z0-9])?)?$"
HOST_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$"
URL = r"^https?://[^\s/]+(/[^\s]*)?$"
# OpenSSH's one-line form: type, base64, comment.
PUBLIC_KEY = r"^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-\S+@openssh\.com) [A-Za-z0-9+/]+={0,3}( [^\n]*)?$"
LOGIN = r"^[a-z_][a-z0-9_-]*$"
# Docker IDs (https://docs.docker.com/accounts/create-account/; old ones have dashes), and empty for none.
HUB_USER = r"^[a-z0-9_-]{0,30}$"
BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
PREFIX = r"^[a-z0-9]+([._/-][a-z0-9]+)*$"
# The links of udev that do not change with the order in which disks are found; some clouds' disks have no by-id.
DATA_DISK = r"^(auto|/dev/disk/by-(id|path)/[A-Za-z0-9._:+=@#-]+)$"
FINGERPRINT = r"^SHA256:[A-Za-z0-9+/]{43}$"
# Hetzner's names, as in its OpenAPI document; a placement group's and an image's are as free as a label's value.
SERVER_TYPE = r"^[a-z0-9]+$"
LOCATION = r"^[a-z0-9-]+$"
IMAGE = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
PLACEMENT = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"
CURRENCY = r"^[A-Z]{3}$"
MEMBER = r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$"
# A name of a ServiceAccount.
OPERATOR = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
LOG_NAME = r"^[A-Za-z0-9/_.-]{1,512}$"
SPONSOR = r"^([^\s<>&\"'][^<>&\"'\n]*)?$"
MAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
KEY = r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$"
MAIL_SERVER = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[0-9]{1,5}$"
# As it goes into a URL's query; Zulip's own limit is 60 characters.
STREAM = r"^[^\n&?#%]{1,60}$"
SERVER = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$"

# What the patterns above ask for, in words: for messages and for the reference.
PATTERNS = {
    NODE_NAME: "a name of at most 40 lower-case letters, digits and dashes that begins with a letter, like bids-1",
    PREDECESSOR: "a node's name, like bids-1",
    HOST_NAME: "a full host name in lower case, like bids.mybinder.org",
    URL: "a URL, like https://mirror.example.org",
    PUBLIC_KEY: "a public key in OpenSSH's one-line form, like ssh-ed25519 AAAA... comment",
    LOGIN: "a login name, like root or debian",
    HUB_USER: "a Docker ID of up to 30 lower-case letters and digits, or nothing",
    BUCKET: "a bucket's name of 3 to 63 lower-case letters, digits, dots and dashes, like bids-registry",
    PREFIX: "a repository prefix in lower case, like binder or bids/builds",
    DATA_DISK: "auto, or a stable name of a disk, like /dev/disk/by-id/scsi-0HC_Volume_1234",
    FINGERPRINT: "a fingerprint as `ssh-keygen -l` writes it, like SHA256: and 43 letters",
    SERVER_TYPE: "a server type, like ccx63",
    LOCATION: "a location, like nbg1",
    IMAGE: "an image's name, like debian-12",
    PLACEMENT: "a name of letters, digits, dots, dashes and underscores, like members",
    CURRENCY: "a currency's three letters, like EUR",
    MEMBER: "a name of lower-case letters, digits and dashes, like bids-ovh",
    OPERATOR: "a name of at most 40 lower-case letters, digits and dashes, like ada",
    LOG_NAME: "a name of letters, digits and /_.-, like binderhub-events-text",
    SPONSOR: "a name without quotes, < and &, like BIDS",
    MAIL: "a mail address, like ops@example.org",
    MAIL_SERVER: "a server's name with its port, like smtp.example.org:587",
    STREAM: "a channel's name of at most 60 characters without & ? # %, like binder alerts",
    KEY: "a key's name, as its server has it, like binder-node",
    WINDOW: "days and hours in UTC, like Sun 00:00-02:00, Mon,Thu 23:30-01:00 or daily 03:00-05:00",
    SERVER: "a server's name or address, with its port where that is not 53, like 203.0.113.53:5353",
}

NodeName = Annotated[str, StringConstraints(pattern=NODE_NAME)]
HostName = Annotated[str, StringConstraints(pattern=HOST_NAME, max_length=253)]
Percent = Annotated[int, Field(ge=1, le=99)]
Url = Annotated[str, StringConstraints(pattern=URL)]
ServerType = Annotated[str, StringConstraints(pattern=SERVER_TYPE)]
ServerLocation = Annotated[str, StringConstraints(pattern=LOCATION)]
OperatorName = Annotated[str, StringConstraints(pattern=OPERATOR)]
PublicKey = Annotated[str, StringConstraints(pattern=PUBLIC_KEY)]
Server = Annotated[str, StringConstraints(pattern=SERVER)]


class Model(BaseModel):
    """Strict and frozen: an unknown key is an error (a mis-cased one once cost the federation a day)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
