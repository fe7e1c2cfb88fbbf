"""CNCF Distribution, twice on one bucket: one that takes pushes on loopback, one that is read-only for everybody else.

Distribution's htpasswd knows no rights: whoever logs in may push. So rights are a matter of which instance one
reaches, and the read-only one cannot push whatever it is asked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from binder_node.artifacts.model import Artifact
from binder_node.host.bucket import reached
from binder_node.host.text import yaml_text
from binder_node.host.wanted import FOR_EVER, Component, File, Link, Unit, Upload, User, Wait, unit_file
from binder_node.layout import (
    BIN,
    ETC,
    PULL_NUMBERS,
    PULL_PORT,
    PULL_USER,
    PUSH_NUMBERS,
    PUSH_PORT,
    PUSH_USER,
)
from binder_node.secrets.masked import Masked
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, Spec

OWNER = "registry"
PUSH_UNIT = "registry-push.service"
UNITS = (PUSH_UNIT, "registry-pull.service")
# In its place the one that takes pushes takes none, while this file says so (host/retention.py writes it).
READ_ONLY, PUSH_SWITCH = str(ETC / "registry-push-readonly.yaml"), "/run/binder-node/registry-push.env"
# 2^5 rounds, bcrypt's least: the passwords are random, so there is nothing to guess, and every request pays for it.
ROUNDS = 5
# Bytes a part of an upload; S3 takes 10 000 parts: layers of up to 320 GB.
CHUNK = 32 * 2**20
# Bytes that one copy of an object may have (S3's CopyObject: 5 GiB). A pushed layer is copied to its place by the
# object store; in pieces, as Distribution does above 32 MiB, it takes the node's own MinIO a quarter longer in a push
# of 300 MB. A store elsewhere has many disks, and pieces are its faster way.
WHOLE_COPY = 5 * 2**30


def registry(spec: Spec, secrets: Secrets, artifacts: Mapping[str, Artifact]) -> Component:
    """Both instances; see docs/architecture.md, decision 1."""
    binary, link = Upload(artifacts["registry"]), str(BIN / "registry")
    push = _instance(spec, secrets, "push", f"127.0.0.1:{PUSH_PORT}", link)
    pull = _instance(spec, secrets, "pull", f"0.0.0.0:{PULL_PORT}", link)
    return Component(
        "registry",
        users=(User(OWNER),),
        uploads=(binary,),
        files=(*push[0], *pull[0]),
        links=(Link(link, binary.path),),
        units=(push[1], pull[1]),
    )


def _instance(spec: Spec, secrets: Secrets, role: str, address: str, binary: str) -> tuple[tuple[File, ...], Unit]:
    config, passwords = str(ETC / f"registry-{role}.yaml"), str(ETC / f"registry-{role}.htpasswd")
    user = PUSH_USER if role == "push" else PULL_USER
    password = secrets.registry_push_password if role == "push" else secrets.registry_pull_password
    files = (
        File(config, _config(spec, secrets, role, address, passwords), 0o640, group=OWNER, secret=True),
        *([_read_only(spec, secrets, address, passwords)] if role == "push" else []),
        File(passwords, f"{user}:{bcrypted(user, password)}\n".encode(), 0o640, group=OWNER, secret=True),
    )
    unit = Unit(
        f"registry-{role}.service",
        service(role, binary, config, isinstance(spec.storage, NodeStorage)),
        restart_on=(config, passwords, binary),
        waits=(Wait("tcp", address.rpartition(":")[2]),),
    )
    return files, unit


def _read_only(spec: Spec, secrets: Secrets, address: str, passwords: str) -> File:
    config = _config(spec, secrets, "push", address, passwords, readonly=True)
    return File(READ_ONLY, config, 0o640, group=OWNER, secret=True)


def _config(spec: Spec, secrets: Secrets, role: str, address: str, passwords: str, *, readonly: bool = False) -> bytes:
    return configuration(
        s3_driver(spec, secrets),
        delete=role == "push",
        readonly=readonly or role == "pull",
        auth={"htpasswd": {"realm": f"binder-node {role}", "path": passwords}},
        http={
            "addr": address,
            "secret": secrets.registry_http_secret.reveal(),
            "relativeurls": True,
            "draintimeout": "30s",
            **({"debug": _numbers(role)} if spec.measured else {}),
        },
    )


def configuration(s3: dict[str, Any], *, delete: bool, readonly: bool, **own: dict[str, Any]) -> bytes:
    """The text of an instance's configuration; ``own`` are sections that are its own."""
    return yaml_text(
        {
            "version": "0.1",
            # The access log is the record of last use: BinderHub asks for the manifest at each launch.
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": False}},
            "storage": {
                "s3": s3,
                "delete": {"enabled": delete},
                # Clients cannot reach the object store, and need no right to.
                "redirect": {"disable": True},
                "maintenance": {"uploadpurging": {"enabled": False}, "readonly": {"enabled": readonly}},
                # No cache of blob descriptors: after a sweep it would tell a push that a layer is there which is not.
            },
            **own,
            "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
        }
    )


def _numbers(role: str) -> dict[str, Any]:
    port = PUSH_NUMBERS if role == "push" else PULL_NUMBERS
    return {"addr": f"127.0.0.1:{port}", "prometheus": {"enabled": True, "path": "/metrics"}}


def s3_driver(spec: Spec, secrets: Secrets) -> dict[str, Any]:
    """The part of a registry's configuration that says where its bucket is."""
    endpoint, region = reached(spec.storage)
    copying = {"multipartcopythresholdsize": WHOLE_COPY} if isinstance(spec.storage, NodeStorage) else {}
    return {
        "accesskey": secrets.s3_access_key,
        "secretkey": secrets.s3_secret_key.reveal(),
        "region": region,
        "regionendpoint": endpoint,
        "forcepathstyle": True,
        "bucket": spec.storage.bucket,
        "secure": endpoint.startswith("https:"),
        "encrypt": False,
        "chunksize": CHUNK,
        **copying,
    }


def bcrypted(user: str, password: Masked) -> str:
    """``password`` as htpasswd wants it, the same each time: the salt is drawn from the secret itself."""
    import bcrypt

    drawn = hmac.new(password.reveal().encode(), f"htpasswd {user}".encode(), hashlib.sha256).digest()[:16]
    # bcrypt's own base 64: the same bits, another alphabet.
    ours = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    theirs = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    salt = base64.b64encode(drawn).rstrip(b"=").translate(bytes.maketrans(theirs, ours))
    return bcrypt.hashpw(password.reveal().encode(), b"$2b$%02d$" % ROUNDS + salt).decode()


def service(role: str, binary: str, config: str, own_minio: bool) -> str:
    """The text of an instance's unit."""
    return unit_file(
        Unit=[
            ("Description", f"Image registry, {role} (binder-node)"),
            ("After", "network.target binder-node-firewall.service" + (" minio.service" if own_minio else "")),
            FOR_EVER,
        ],
        Service=[
            ("User", OWNER),
            ("Group", OWNER),
            ("Environment", f"CONFIG={config}"),
            *([("EnvironmentFile", f"-{PUSH_SWITCH}")] if role == "push" else []),
            ("ExecStart", f"{binary} serve ${{CONFIG}}"),
            # Each line of the access log counts: what was pushed while the bucket was looked at is not removed.
            ("LogRateLimitIntervalSec", "0"),
            ("UnsetEnvironment", "AWS_CA_BUNDLE"),  # it panics on that
            ("Environment", "OTEL_TRACES_EXPORTER=none"),
            ("Restart", "always"),
            ("RestartSec", "2"),
            ("LimitNOFILE", "1048576"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("ProtectControlGroups", "yes"),
            ("ProtectKernelTunables", "yes"),
            ("ProtectKernelModules", "yes"),
            ("RestrictSUIDSGID", "yes"),
            ("UMask", "0077"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )
