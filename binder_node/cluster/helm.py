"""Helm, run on the operator's machine against the node's API. Values go in by stdin, never by argument."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binder_node.cluster.values import Values, revealed, secret_texts
from binder_node.errors import DeadlineError, StepError
from binder_node.layout import NAMESPACE, RELEASE
from binder_node.secrets.masked import MASK

# Helm itself waits for nothing of ours (see waits.py): an upgrade is a few dozen requests.
SECONDS = 120.0
HISTORY = 5
# Which chart and values made a revision, in the labels of Helm's own record of it.
DIGEST = "binder-node/digest"


@dataclass(frozen=True, slots=True)
class Helm:
    """``binary`` against the cluster of ``kubeconfig``; ``name`` is the node's, for messages."""

    name: str
    binary: Path
    kubeconfig: Path
    namespace: str = NAMESPACE
    release: str = RELEASE

    def rendered(self, chart: Path, values: Values) -> list[dict[str, Any]]:
        """The objects that an upgrade would make. Helm asks the server what it knows, but not whether it takes them.

        Raises:
            StepError: the chart refuses the values; says which and why.
        """
        found = self._json(
            "try the release",
            ["upgrade", "--install", self.release, str(chart), "--values", "-", "--dry-run=server", "--output=json"],
            values,
        )
        return objects(str(found.get("manifest", "")))

    def deployed(self, revision: int) -> tuple[list[dict[str, Any]], Values]:
        """The objects of a revision, and the values that it was made with: their secrets are in them."""
        step, which = "look at the release", [self.release, f"--revision={revision}"]
        manifest = self._run(step, ["get", "manifest", *which])
        return objects(manifest), self._json(step, ["get", "values", *which, "--output=json"])

    def upgrade(self, chart: Path, values: Values, digest: str) -> None:
        """Install or upgrade, and note ``digest`` on the revision. It does not wait for pods.

        Raises:
            StepError: Helm failed. A first install that failed is taken away again; an upgrade is not, so that the
                same call goes on from there.
            DeadlineError: Helm did not end.
        """
        self._run(
            "install the release",
            # Fields that somebody applied by hand are put right; without the last of these Helm fails over them.
            ["upgrade", "--install", self.release, str(chart), "--values", "-", f"--history-max={HISTORY}",
             f"--labels={DIGEST}={digest}", "--hide-notes", "--force-conflicts"],
            values,
        )  # fmt: skip

    def uninstall(self) -> None:
        """Take the release away; none is what is wanted."""
        self._run("take the release away", ["uninstall", self.release, "--ignore-not-found", "--wait=legacy"])

    def _json(self, step: str, argv: list[str], values: Values | None = None) -> dict[str, Any]:
        text = self._run(step, argv, values)
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise StepError(self.name, step, "helm answered no JSON object")
        return found

    def _run(self, step: str, argv: list[str], values: Values | None = None) -> str:
        given = None if values is None else json.dumps(revealed(values))  # JSON is YAML
        with tempfile.TemporaryDirectory(prefix="helm-", dir=self.kubeconfig.parent) as home:
            try:
                done = subprocess.run(
                    [str(self.binary), *argv, "--namespace", self.namespace, "--kubeconfig", str(self.kubeconfig)],
                    input=given,
                    stdin=subprocess.DEVNULL if given is None else None,
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                    env=environment(Path(home)),
                )
            except subprocess.TimeoutExpired as error:
                last = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else ""
                raise DeadlineError(self.name, f"helm ({step})", SECONDS, masked(last, values)) from None
            except OSError as error:
                raise StepError(self.name, step, f"{self.binary}: {error.strerror}") from None
        if done.returncode != 0:
            reason = masked(done.stderr.strip() or done.stdout.strip(), values)
            raise StepError(self.name, step, reason or f"helm ended with {done.returncode}")
        return done.stdout


def environment(home: Path) -> Mapping[str, str]:
    """Helm's environment: nothing of the operator's own Helm or cluster gets in, nothing of this run stays."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
    return kept | {name: str(home) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}


def masked(text: str, *values: Values | None) -> str:
    """``text`` without the secrets in ``values``: a schema's error quotes what it refuses."""
    secrets = {secret for given in values for secret in secret_texts(given or {})}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def objects(manifest: str) -> list[dict[str, Any]]:
    """The objects in a manifest as Helm prints it."""
    from ruamel.yaml import YAML

    found: Iterable[Any] = YAML(typ="safe", pure=True).load_all(manifest)
    return [item for item in found if isinstance(item, dict)]
