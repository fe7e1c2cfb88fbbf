"""The bucket on the node's own MinIO, made by MinIO's own client. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from binder_node.layout import MINIO_PORT
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec
from binder_node.storage.backups import own_key, prefix, rule_of
from binder_node.storage.policy import BACKUP_POLICY, POLICY_NAME, Expiry, cache_expiry, scoped, writing_below

# MinIO answers within a second of its start; a slow disk takes some more.
READY_SECONDS = 60
SCRIPT, POLICY, KEYS = "bucket.sh", "bucket-policy.json", "bucket-keys"
BACKUPS_POLICY, RULES = "backups-policy.json", "bucket-rules.json"

_SCRIPT = f"""\
#!/bin/sh
# Makes the registry's bucket, and keys that open nothing else. It can be run again.
set -eu
cd "$(dirname "$0")"
. ./{KEYS}
MC_CONFIG_DIR=$(mktemp -d)
trap 'rm -r "$MC_CONFIG_DIR"' EXIT
export MC_HOST_node MC_CONFIG_DIR
PATH="$PWD/bin:$PATH"
# key NAME SECRET POLICY FILE
key() {{
    mc admin policy create node "$3" "$4"
    printf '%s\\n%s\\n' "$1" "$2" | mc admin user add node
    mc admin policy entities node --user "$1" | grep -q "$3" || mc admin policy attach node "$3" --user "$1"
}}
timeout {READY_SECONDS} mc ready node
mc mb --ignore-existing node/{{bucket}}
# It may do everything in the bucket.
key "$ACCESS_KEY" "$SECRET_KEY" {POLICY_NAME} {POLICY}
"""
_BACKUPS = f"""\
# It may write backups, and read none.
key "$BACKUP_ACCESS_KEY" "$BACKUP_SECRET_KEY" {BACKUP_POLICY} {BACKUPS_POLICY}
"""
_RULES = f"""\
# What is old goes by itself; rules that are there already stay as they are.
mc ilm rule export node/{{bucket}} 2>/dev/null | grep -q '"ID"' || mc ilm rule import node/{{bucket}} <{RULES}
"""


def plain(spec: Spec, secrets: Secrets) -> dict[str, tuple[bytes, int]]:
    """Contents and modes by relative path; ``mc`` is to be put into ``bin``. No secret is in an argument.

    It is what the stages ``storage`` and ``backup`` make of a node with its own MinIO.
    """
    bucket = spec.storage.bucket
    root = f"{secrets.minio_root_user}:{secrets.minio_root_password.reveal()}"  # letters and digits: fit for a URL
    keys = [
        f"MC_HOST_node=http://{root}@127.0.0.1:{MINIO_PORT}",
        f"ACCESS_KEY={secrets.s3_access_key}",
        f"SECRET_KEY={secrets.s3_secret_key.reveal()}",
    ]
    script, cache = _SCRIPT.replace("{bucket}", bucket), cache_expiry(spec)
    expiries = [cache] if cache is not None else []
    files = {POLICY: (_json(scoped(bucket)), 0o644)}
    password = secrets.backup_secret_key
    if spec.backup.hours and own_key(spec) and password is not None:
        keys += [f"BACKUP_ACCESS_KEY={secrets.backup_access_key}", f"BACKUP_SECRET_KEY={password.reveal()}"]
        script += _BACKUPS.replace("{bucket}", bucket)
        files[BACKUPS_POLICY] = (_json(writing_below(bucket, prefix(spec))), 0o644)
        expiries.append(Expiry(rule_of(spec), prefix(spec), spec.backup.keep))
    if expiries:
        script += _RULES.replace("{bucket}", bucket)
        files[RULES] = (_json({"Rules": [expiry(one) for one in expiries]}), 0o644)
    files[SCRIPT] = (script.encode(), 0o700)
    files[KEYS] = (("\n".join(keys) + "\n").encode(), 0o600)
    return files


def expiry(of: Expiry) -> dict[str, Any]:
    """A rule as ``mc ilm rule import`` takes it."""
    return {
        "ID": of.rule,
        "Status": "Enabled",
        "Filter": {"Prefix": of.prefix},
        "Expiration": {"Days": of.days},
    }


def _json(what: Mapping[str, Any]) -> bytes:
    return (json.dumps(what, indent=1) + "\n").encode()
