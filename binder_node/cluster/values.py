"""The release's Helm values, in layers: the later one wins, key by key; lists are replaced whole.

    chart's own < base < size < security < federation < node < the operator's files

``base``, ``security`` and ``federation`` begin as files in ``values/``; ``size``, ``node``, the networks of
``security`` and the command of ``base`` are computed. Secrets stay :class:`~binder_node.secrets.masked.Masked` until
written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binder_node import layout
from binder_node.cluster import banned
from binder_node.cluster.engine.executor import executor_source
from binder_node.cluster.eventlog import CONFIG, eventlog_source, eventlog_values
from binder_node.cluster.ingress import ingress_annotations
from binder_node.cluster.line import line_source
from binder_node.cluster.manifests import outward
from binder_node.cluster.snippets import apart
from binder_node.cluster.start import start_command
from binder_node.errors import InputError, Problem
from binder_node.node import Node
from binder_node.secrets.masked import MASK, Masked
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

Values = dict[str, Any]

STATIC = ("base", "security", "federation")
# A launch is three requests at most, and ServiceLB may hide clients behind one address: so many an hour and quota.
RATE_PER_QUOTA, LEAST_RATE = 20, 100
TLS_SECRET = "binder-tls"
HUB_MOUNT = "/srv/jupyterhub"
# The build pod itself only clones and streams; memory and disk of its build are the limits' meaning.
BUILD_REQUEST_MEMORY, BUILD_REQUEST_CPU = 300_000_000, "100m"


@dataclass(frozen=True, slots=True)
class Layer:
    """``name`` is what ``plan`` calls it: ``base``, ``size``, ..., or an operator's file."""

    name: str
    values: Values


@dataclass(frozen=True, slots=True)
class Composed:
    """``values`` may hold :class:`Masked` leaves; ``provenance`` names each leaf's layer by its dotted key."""

    values: Values
    provenance: Mapping[str, str]


def compose(node: Node, address: str, files: Mapping[str, Values]) -> Composed:
    """The release's values. ``files`` are the static layers and the operator's files by name, as :func:`read` gives
    them, the operator's in the order in which they are to be merged. Pure.
    """
    return merged(layers(node, address, files))


def layers(node: Node, address: str, files: Mapping[str, Values]) -> list[Layer]:
    """Every layer in its order."""
    spec = node.spec
    found = [
        Layer("base", files["base"]),
        Layer("base", {"jupyterhub": {"singleuser": {"cmd": start_command()}}}),
        Layer("size", size(spec)),
        Layer("security", files["security"]),
        Layer("security", networks(spec, address)),
        *([Layer("federation", files["federation"])] if spec.federation.member else []),
        Layer("node", own(spec, node.secrets, node.images)),
    ]
    return found + [Layer(name, values) for name, values in files.items() if name not in STATIC]


def merged(stack: Sequence[Layer]) -> Composed:
    """The layers laid over each other."""
    values: Values = {}
    provenance: dict[str, str] = {}
    for layer in stack:
        _lay(values, layer.values, layer.name, provenance, ())
    return Composed(values, provenance)


def _lay(under: Values, over: Values, name: str, provenance: dict[str, str], path: tuple[str, ...]) -> None:
    for key, value in over.items():
        here = (*path, str(key))
        below = under.get(key)
        if isinstance(value, dict) and value and (below is None or isinstance(below, dict)):
            under[key] = {} if below is None else below
            if below == {}:
                provenance.pop(".".join(here), None)
            _lay(under[key], value, name, provenance, here)
        elif not (isinstance(value, dict) and isinstance(below, dict)):
            dotted = ".".join(here)
            for old in [known for known in provenance if known == dotted or known.startswith(f"{dotted}.")]:
                del provenance[old]
            under[key] = _copied(value)
            provenance[dotted] = name


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def size(spec: Spec) -> Values:
    """What follows from the machine's size, and the limits that the operator set instead."""
    hub, build, session = spec.binderhub, spec.buildkit, spec.binderhub.session
    limits = {"memory": int(build.memory), "ephemeral-storage": int(build.disk)}
    requests = {"memory": min(BUILD_REQUEST_MEMORY, int(build.memory)), "cpu": BUILD_REQUEST_CPU}
    return {
        "replicas": hub.replicas,
        "config": {
            "BinderHub": {
                "per_repo_quota": hub.per_repo_quota,
                "concurrent_build_limit": hub.build_limit,
            },
            "KubernetesBuildExecutor": {"resources": {"requests": requests, "limits": limits}},
            "LaunchQuota": {"total_quota": hub.quota},
            "RateLimiter": {"limit": max(LEAST_RATE, RATE_PER_QUOTA * hub.quota)},
        },
        "jupyterhub": {
            "singleuser": {
                # Bytes: JupyterHub reads `450M` as 450 x 1024 x 1024.
                "memory": {"guarantee": int(session.memory_guarantee), "limit": int(session.memory_limit)},
                "cpu": {"guarantee": session.cpu_guarantee, "limit": session.cpu_limit},
            }
        },
    }


def networks(spec: Spec, address: str) -> Values:
    """Where a user's server may connect to."""
    return {"jupyterhub": {"singleuser": {"networkPolicy": {"egress": outward(spec, address)}}}}


def own(spec: Spec, secrets: Secrets, images: Mapping[str, str]) -> Values:
    """This node's names and secrets."""
    registry = layout.registry_name(spec.names.registry)
    binder: Values = {
        "hub_url": f"{spec.url(spec.names.hub)}/",
        "image_prefix": f"{registry}/{spec.registry.prefix}/",
        "build_token_secret": secrets.build_token_secret,
    }
    eventlog = eventlog_values(spec, secrets, str(spec.machine.state / layout.EVENTS_STATE))
    volume, mount = banned.banned_mount(str(spec.machine.state / layout.BANNED_STATE))
    if spec.binderhub.banner:
        binder["banner_message"] = spec.binderhub.banner
    return {
        # What build pods push with. The key must be the registry as image names have it: no scheme.
        "registry": {
            "url": registry,
            "username": layout.PUSH_USER,
            "password": secrets.registry_push_password,
        },
        "config": {
            "BinderHub": binder,
            # BinderHub only asks whether an image exists: through a Service, with rights to read.
            "DockerRegistry": {
                "url": f"http://{layout.REGISTRY_SERVICE}",
                "username": layout.PULL_USER,
                "password": secrets.registry_pull_password,
            },
            "KubernetesBuildExecutor": {"build_image": images["build"]},
        },
        # BinderHub reads the token at its start, from the hub's Secret; its chart restarts it for its own Secret only
        # (binderhub's templates/deployment.yaml). Eight digits of a digest of 256 random bits tell nothing.
        "podAnnotations": {"binder-node/hub": _mark(secrets.binder_api_token)},
        "extraConfig": {
            "10-binder-node-engine": apart(executor_source(spec)),
            "20-binder-node-line": apart(line_source(spec)),
            CONFIG: apart(eventlog_source(spec)),
            banned.CONFIG: apart(banned.banned_source(spec.abuse.banned_url is not None)),
        },
        **eventlog,
        "extraVolumes": [*eventlog["extraVolumes"], volume],
        "extraVolumeMounts": [*eventlog["extraVolumeMounts"], mount],
        "ingress": _ingress(spec, spec.names.binder),
        "jupyterhub": {
            "hub": {
                "cookieSecret": secrets.hub_cookie_secret,
                # Drawn anew at each render when left out, so that every upgrade would restart the hub.
                "config": {"CryptKeeper": {"keys": [secrets.hub_crypt_key]}},
                "services": {"binder": {"apiToken": secrets.binder_api_token}},
                "extraVolumes": [
                    {
                        "name": "state",
                        "hostPath": {"path": str(spec.machine.state / layout.HUB_STATE), "type": "Directory"},
                    }
                ],
                "extraVolumeMounts": [{"name": "state", "mountPath": HUB_MOUNT}],
            },
            "proxy": {"secretToken": secrets.proxy_token},
            "ingress": _ingress(spec, spec.names.hub),
            "imagePullSecret": {
                "create": True,
                "registry": registry,
                "username": layout.PULL_USER,
                "password": secrets.registry_pull_password,
            },
        },
    }


def _mark(secret: Masked) -> str:
    """Changes with a secret and does not tell it. Never a number: YAML reads ``12e45678`` as infinity."""
    return f"h{hashlib.sha256(secret.reveal().encode()).hexdigest()[:8]}"


def _ingress(spec: Spec, host: str) -> Values:
    tls = [{"secretName": TLS_SECRET, "hosts": [host]}] if spec.tls.mode == "files" else []
    found: Values = {"hosts": [host], "tls": tls}
    return {**found, "annotations": ingress_annotations(spec)} if spec.tls.mode == "acme" else found


# --- reading and writing -------------------------------------------------------------------------------------------


def read(spec: Spec) -> dict[str, Values]:
    """The static layers, then the operator's files under their paths.

    Raises:
        InputError: an operator's file is missing, no YAML, or no mapping.
    """
    folder = static_folder()
    found = {name: parsed(f"{name}.yaml", (folder / f"{name}.yaml").read_text("utf-8")) for name in STATIC}
    for file in spec.binderhub.values:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            right = "write it, or take it out of binderhub.values"
            raise InputError(Problem(str(file), 0, "", f"cannot be read: {error}", right)) from None
        found[str(file)] = parsed(str(file), text)
    return found


def static_folder() -> Path:
    """``values/`` of the checkout, or what of it an installed package carries."""
    package = Path(__file__).parents[1]
    installed = package / "_values"
    return installed if installed.is_dir() else package.parent / "values"


def parsed(name: str, text: str) -> Values:
    """One values file. Raises InputError with the line where it is no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        found = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise InputError(Problem(name, line, "", f"is no YAML: {error.problem}", "see Helm's values files")) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(Problem(name, 1, "", "is no mapping", "write keys of the chart, like `replicas: 2`"))
    return found


def shown(values: Any) -> Any:
    """``values`` with each secret as ``***``."""
    return _with(values, lambda _: MASK)


def revealed(values: Any) -> Any:
    """``values`` with each secret as it is: for Helm's stdin, and nothing else."""
    return _with(values, lambda secret: secret.reveal())


def _with(value: Any, of: Any) -> Any:
    if isinstance(value, Masked):
        return of(value)
    if isinstance(value, dict):
        return {key: _with(item, of) for key, item in value.items()}
    return [_with(item, of) for item in value] if isinstance(value, list) else value


# Parts of names under which an operator's own files may hold secrets.
SENSITIVE = ("password", "secret", "token", "apikey", "api_key", "privatekey", "private_key", "credential")
# A shorter text is no secret worth the name, and would be found everywhere.
SHORTEST = 6


def secret_texts(values: Any) -> Iterator[str]:
    """Every secret in ``values``, for masking what others say about them: ours, and what stands in an operator's file
    (or in values that Helm kept) under a name that says so."""
    for path, leaf in flat(values).items():
        yield from _texts(leaf, sensitive(path))


def _texts(leaf: Any, named: bool) -> Iterator[str]:
    if isinstance(leaf, Masked):
        yield leaf.reveal()
    elif isinstance(leaf, str) and named and len(leaf) >= SHORTEST:
        yield leaf
    elif isinstance(leaf, list):
        for item in leaf:
            yield from secret_texts(item) if isinstance(item, dict) else _texts(item, named)


def sensitive(path: str) -> bool:
    """Whether what stands under a dotted key is likely to be secret."""
    return any(part in path.lower() for part in SENSITIVE)


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Leaves by dotted key; a list is a leaf.

    >>> flat({"a": {"b": 1, "c": {}}, "d": [2]})
    {'a.b': 1, 'a.c': {}, 'd': [2]}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        here = f"{path}.{name}" if path else str(name)
        found |= flat(value, here) if isinstance(value, Mapping) and value else {here: value}
    return found
