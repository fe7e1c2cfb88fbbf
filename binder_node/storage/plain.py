"""The bucket on the node's own MinIO, made by MinIO's own client. Pure."""

from __future__ import annotations

import json

from binder_node.layout import MINIO_PORT
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage
from binder_node.storage.policy import POLICY_NAME, scoped

# MinIO answers within a second of its start; a slow disk takes some more.
READY_SECONDS = 60
SCRIPT, POLICY, KEYS = "bucket.sh", "bucket-policy.json", "bucket-keys"


def plain(storage: NodeStorage, secrets: Secrets) -> dict[str, tuple[bytes, int]]:
    """Contents and modes by relative path; ``mc`` is to be put into ``bin``. No secret is in an argument."""
    root = f"{secrets.minio_root_user}:{secrets.minio_root_password.reveal()}"  # letters and digits: fit for a URL
    keys = [
        f"MC_HOST_node=http://{root}@127.0.0.1:{MINIO_PORT}",
        f"ACCESS_KEY={secrets.s3_access_key}",
        f"SECRET_KEY={secrets.s3_secret_key.reveal()}",
    ]
    script = f"""\
#!/bin/sh
# Makes the registry's bucket, and the key that may do everything in it and nothing elsewhere. It can be run again.
set -eu
cd "$(dirname "$0")"
. ./{KEYS}
MC_CONFIG_DIR=$(mktemp -d)
trap 'rm -r "$MC_CONFIG_DIR"' EXIT
export MC_HOST_node MC_CONFIG_DIR
PATH="$PWD/bin:$PATH"
timeout {READY_SECONDS} mc ready node
mc mb --ignore-existing node/{storage.bucket}
mc admin policy create node {POLICY_NAME} {POLICY}
printf '%s\\n%s\\n' "$ACCESS_KEY" "$SECRET_KEY" | mc admin user add node
mc admin policy entities node --user "$ACCESS_KEY" | grep -q {POLICY_NAME} ||
    mc admin policy attach node {POLICY_NAME} --user "$ACCESS_KEY"
"""
    return {
        SCRIPT: (script.encode(), 0o700),
        POLICY: ((json.dumps(scoped(storage.bucket), indent=1) + "\n").encode(), 0o644),
        KEYS: (("\n".join(keys) + "\n").encode(), 0o600),
    }
