"""What is secret about a node. Generated once, kept age-encrypted in ``secrets/NODE.age`` beside the inventory."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from binder_node.secrets.masked import Masked


class Secrets(BaseModel):
    """One node's secrets, complete. Private keys are OpenSSH ed25519 texts; ``*_public`` are one-line public keys."""

    # Pydantic's messages quote what they were given: not here.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host_key: Masked  # the machine's ssh host key, made here and handed over by user-data
    host_key_public: str
    login_key: Masked  # what binder-node logs in with
    login_key_public: str
    s3_access_key: str  # of the registry's bucket; scoped to it where the endpoint can
    s3_secret_key: Masked
    minio_root_user: str  # of MinIO on the node; unused with an endpoint elsewhere
    minio_root_password: Masked
    registry_push_password: Masked  # user `push`
    registry_pull_password: Masked  # user `pull`
    registry_http_secret: Masked  # Distribution's http.secret, the same for every instance of one registry
    hub_cookie_secret: Masked  # 64 hex digits
    hub_crypt_key: Masked  # 64 hex digits, CryptKeeper: without it each render restarts the hub
    proxy_token: Masked  # 64 hex digits
    binder_api_token: Masked  # the hub's service token of BinderHub, 64 hex digits
    build_token_secret: Masked  # 64 hex digits; the federation's shared one where it gives you that
    k3s_token: Masked
    backup_access_key: str = ""  # where the node writes its backups; empty: with the registry's key
    backup_secret_key: Masked | None = None
    tokens: dict[str, Masked] = Field(default_factory=dict)  # of APIs, by kind (secrets/tokens.py); may be empty

    def hidden(self) -> Iterator[Masked]:
        """Every value that nobody may see."""
        yield from (value for _, value in self if isinstance(value, Masked))
        yield from self.tokens.values()
