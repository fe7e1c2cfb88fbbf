"""The question whether an image exists, put as upstream puts it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any as AnyType
from urllib.parse import urlparse

from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Dict, Unicode, default
from traitlets.config import LoggingConfigurable

# The one media type that is asked for: what answers with an index has, for BinderHub, no image.
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class DockerRegistry(LoggingConfigurable):
    """The registry of built images; ``url`` and login default to the docker config's first entry."""

    url = Unicode(config=True)
    auth_config_url = Unicode(config=True)
    username = Unicode(config=True)
    password = Unicode(config=True)
    docker_config_path = Unicode(config=True)
    _docker_config = Dict()

    @default("docker_config_path")
    def _default_docker_config_path(self) -> str:
        folder = os.environ.get("DOCKER_CONFIG", os.path.expanduser("~/.docker"))
        return os.path.join(folder, "config.json")

    @default("_docker_config")
    def _default_docker_config(self) -> dict[str, AnyType]:
        path = Path(self.docker_config_path)
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @default("url")
    def _default_url(self) -> str:
        first = next(iter(self._docker_config.get("auths", {})), "https://registry-1.docker.io")
        parsed = urlparse(first if "://" in first else f"https://{first}")
        return f"{parsed.scheme}://{parsed.netloc}"

    @default("auth_config_url")
    def _default_auth_config_url(self) -> str:
        auths = self._docker_config.get("auths", {})
        wanted = urlparse(self.url).netloc
        for key in auths:
            if key == self.url or urlparse(key if "://" in key else f"https://{key}").netloc == wanted:
                return str(key)
        return self.url

    def _login(self) -> list[str]:
        auth = self._docker_config.get("auths", {}).get(self.auth_config_url, {}).get("auth", "")
        return base64.b64decode(auth).decode().split(":", 1) if auth else ["", ""]

    @default("username")
    def _default_username(self) -> str:
        return self._login()[0]

    @default("password")
    def _default_password(self) -> str:
        return self._login()[1]

    async def get_image_manifest(self, image: str, tag: str) -> dict[str, AnyType] | None:
        """The manifest of ``image:tag``; None where there is none. Raises ``HTTPClientError`` for anything but 404."""
        try:
            response = await AsyncHTTPClient().fetch(
                f"{self.url}/v2/{image}/manifests/{tag}",
                headers={"Accept": MANIFEST},
                auth_username=self.username or None,
                auth_password=self.password or None,
            )
        except HTTPClientError as error:
            if error.code == 404:
                return None
            raise
        found: dict[str, AnyType] = json.loads(response.body)
        return found
