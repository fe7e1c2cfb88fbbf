"""What each secret is for, and what the next ``up`` does once it is another: the one table of rotation. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from binder_node.secrets.document import TOKENS, About, Document
from binder_node.secrets.generate import KEYS
from binder_node.spec.model import S3Storage, Spec, SshProvider

SecretKind = Literal["ssh key", "access key", "password", "key", "token"]
REGISTRIES = ("registry-push", "registry-pull")
PUSHES = "a build that pushes at that moment fails"


@dataclass(frozen=True, slots=True)
class Entry:
    """One secret. ``restarts`` are units of the host and pods of the release that the next ``up`` starts anew;
    ``effect`` is what people notice of it; ``fixed`` is why `up` cannot put another one in force, empty where it can.
    """

    name: str
    kind: SecretKind
    purpose: str
    restarts: tuple[str, ...] = ()
    effect: str = ""
    fixed: str = ""


_ENTRIES = (
    Entry(
        "host_key",
        "ssh key",
        "what the machine proves itself with",
        ("sshd",),
        "connections that are open stay; who logs in by hand is asked whether the machine is the right one",
        fixed="the machine has it, and `up` would take one with another for somebody else's",
    ),
    Entry(
        "login_key",
        "ssh key",
        "what binder-node logs in with",
        effect="who has the old one is not let in any more",
        fixed="the machine lets in this one, and `up` would not be let in with another",
    ),
    Entry(
        "s3_access_key",
        "access key",
        "name of the key to the registry's bucket",
        REGISTRIES,
        f"the old key is taken from MinIO; {PUSHES}",
    ),
    Entry(
        "s3_secret_key",
        "key",
        "secret half of the key to the registry's bucket",
        REGISTRIES,
        f"the registry answers 503 until MinIO has it, some seconds; {PUSHES}",
    ),
    Entry(
        "backup_access_key",
        "access key",
        "name of the key that the node writes backups with",
        effect="the old key is taken from MinIO",
    ),
    Entry(
        "backup_secret_key",
        "key",
        "secret half of the key that the node writes backups with",
        effect="a backup under way fails, and is tried again",
    ),
    Entry(
        "minio_root_user",
        "access key",
        "MinIO's administrator",
        ("minio",),
        f"the registry answers 503 for some seconds; {PUSHES}",
    ),
    Entry(
        "minio_root_password",
        "password",
        "MinIO's administrator",
        ("minio",),
        f"the registry answers 503 for some seconds; {PUSHES}",
    ),
    Entry(
        "registry_push_password",
        "password",
        "what builds push images with",
        ("registry-push", "binder"),
        "builds under way have the old one and fail at their push",
    ),
    Entry(
        "registry_pull_password",
        "password",
        "what the node pulls images with",
        ("registry-pull", "k3s", "binder", "hub"),
        "sessions go on; for some seconds nothing is launched",
    ),
    Entry(
        "registry_http_secret",
        "key",
        "what the registries sign uploads with",
        REGISTRIES,
        PUSHES,
    ),
    Entry(
        "hub_cookie_secret",
        "key",
        "what JupyterHub signs its cookies with",
        ("hub",),
        "everybody who is logged in at the hub is logged out; sessions that are open go on",
    ),
    Entry(
        "hub_crypt_key",
        "key",
        "what JupyterHub encrypts users' login state with",
        ("hub",),
        "login state that is kept is lost; a Binder keeps none",
    ),
    Entry(
        "proxy_token",
        "token",
        "what the hub tells its proxy with",
        ("hub", "proxy"),
        "connections of sessions break and come back within some seconds; kernels go on",
    ),
    Entry(
        "binder_api_token",
        "token",
        "what BinderHub asks the hub with",
        ("hub", "binder"),
        "launches under way fail; sessions go on",
    ),
    Entry(
        "build_token_secret",
        "key",
        "what BinderHub signs the links to its builds with",
        ("binder",),
        "pages of launches under way are loaded anew",
    ),
    Entry(
        "k3s_token",
        "token",
        "what K3s protects its certificates with, and agents join with",
        fixed="K3s does not start with another one on data that it has (its own `k3s token rotate` takes the new one "
        "as an argument, for everybody on the machine to see)",
    ),
)
CATALOG = {entry.name: entry for entry in _ENTRIES}
# Tokens that a node has itself.
_COLLECTOR = Entry(
    f"{TOKENS}collector",
    "token",
    "what BinderHub tells launches to the federation's collector with",
    ("binder",),
    "launches under way fail; sessions go on",
)
_DOCKER_HUB = Entry(
    f"{TOKENS}dockerhub",
    "token",
    "what the cache of Docker Hub logs in there with",
    ("registry-cache",),
    "a pull of a base image at that moment is asked of Docker Hub itself",
)
_ALERTS = {
    "webhook": "URL that alerts are posted to",
    "zulip": "what alerts are told to Zulip with",
    "mail": "password of the server that alerts are mailed by",
    "deadman": "URL that is called as long as the node can tell of trouble",
}
_TELLING = tuple(
    Entry(f"{TOKENS}{kind}", "token", purpose, ("binder-node-alertmanager",), "what fires is told again")
    for kind, purpose in _ALERTS.items()
)
# The tokens that a node has itself.
_ON_NODE = {entry.name: entry for entry in (_COLLECTOR, _DOCKER_HUB, *_TELLING)}


def entry(name: str) -> Entry:
    """The secret of that name; a token of an API is of no unit's."""
    if name in _ON_NODE:
        return _ON_NODE[name]
    if name.startswith(TOKENS):
        return Entry(name, "token", f"API of {name.removeprefix(TOKENS)}", effect="nothing on the node has it")
    return CATALOG[name]


def unused(name: str, spec: Spec) -> str:
    """Why nothing of this node uses a secret; empty where something does."""
    if name.startswith("minio_root_") and isinstance(spec.storage, S3Storage):
        return "its bucket is elsewhere: there is no MinIO on it"
    if name.startswith("backup_") and isinstance(spec.storage, S3Storage) and spec.backup.endpoint is None:
        return "its backups are written with the registry's key"
    if name == "host_key" and isinstance(spec.provider, SshProvider):
        return "the machine has a host key of its own, which was confirmed (provider.host_key)"
    return ""


def given_by(name: str, spec: Spec, about: About, node: str) -> str:
    """Who else makes this secret, and how a new one gets here; empty where it is made here."""
    set_it = f"keep the new one by `binder-node secrets set {node} {name}`"
    elsewhere = {"s3_": isinstance(spec.storage, S3Storage), "backup_": spec.backup.endpoint is not None}
    if any(name.startswith(prefix) for prefix, others in elsewhere.items() if others):
        return f"the bucket's provider makes it: make a new key there, then {set_it}"
    if name.startswith(TOKENS):
        return f"the API's provider makes it: make a new one there, then {set_it}"
    if about.origin == "given":
        return f"it was given to you, not made here: get a new one, then {set_it}"
    return ""


def hindrance(name: str, spec: Spec, document: Document, node: str, *, new_machine: bool) -> str:
    """Why ``name`` is not rotated; empty where it is."""
    if why := unused(name, spec):
        return f"nothing of this node uses it: {why}"
    if why := given_by(name, spec, document.about.get(name, About()), node):
        return why
    fixed = entry(name).fixed
    if fixed and name in KEYS and not new_machine:
        return f"{fixed}: say its name alone, and the machine is given the new one at once"
    if fixed and not new_machine:
        return f"{fixed}; for a machine that is made anew, say --new-machine"
    return ""
