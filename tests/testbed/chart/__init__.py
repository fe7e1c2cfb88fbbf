"""The stand-in BinderHub chart, packaged without Helm and deterministically; see ``binderhub/Chart.yaml``."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).parent
SOURCE = HERE / "binderhub"
OUTPUT = HERE.parents[2] / "build/testbed/binderhub.tgz"
EPOCH = 1_790_000_000
# Keys of upstream's chart without a default of their own there, by dotted path.
FURTHER = {
    "jupyterhub": ("fullnameOverride", "nameOverride", "enabled"),
    "jupyterhub.hub": (
        *("allowNamedServers", "namedServerLimitPerUser", "authenticatePrometheus", "redirectToServer"),
        *("shutdownOnLogout", "templatePaths", "templateVars", "existingSecret", "serviceAccount"),
        *("revisionHistoryLimit", "command", "args"),
    ),
    "jupyterhub.singleuser": (
        *("defaultUrl", "extraContainers", "extraFiles", "extraNodeAffinity", "extraPodAffinity"),
        *("extraPodAntiAffinity", "extraResource", "lifecycleHooks", "networkTools", "podNameTemplate"),
        *("profileList", "serviceAccountName"),
    ),
    "jupyterhub.proxy.chp": ("defaultTarget", "errorTarget", "revisionHistoryLimit"),
}
# Mappings that take any key, as upstream's do; everything else refuses what it does not know.
OPEN = frozenset(
    [
        *("config", "extraConfig", "extraFiles", "extraPodSpec", "resources", "nodeSelector", "lifecycle", "extraEnv"),
        *(
            "podAnnotations",
            "annotations",
            "labels",
            "dind",
            "pink",
            "cors",
            "networkPolicy",
            "hpa",
            "global",
            "custom",
        ),
        *("imageCleaner", "httpRoute", "loadRoles", "services", "storage", "userScheduler", "userPlaceholder"),
        *("prePuller", "traefik", "podSecurityContext", "containerSecurityContext", "extraLabels", "extraAnnotations"),
        *("extraPodConfig", "deploymentStrategy", "service", "https", "pvc", "podPriority", "corePods", "userPods"),
    ]
)


def schema(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """A JSON schema that refuses keys which upstream's chart has not, from the chart's own values."""
    properties: dict[str, Any] = {key: {} for key in FURTHER.get(path, ())}
    for key, value in values.items():
        at = f"{path}.{key}" if path else key
        policy = key == "networkPolicy" and path
        if isinstance(value, dict) and (policy or key not in OPEN):
            properties[key] = schema(value, at)
        else:
            properties[key] = {"type": ["object", "null"]} if isinstance(value, dict) else {}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def package(output: Path = OUTPUT) -> Path:
    """Write the chart as Helm would package it, with its schema; the same sources give the same bytes."""
    files = {path.relative_to(SOURCE).as_posix(): path.read_bytes() for path in SOURCE.rglob("*") if path.is_file()}
    rules = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **schema(YAML(typ="safe").load(files["values.yaml"])),
    }
    files["values.schema.json"] = json.dumps(rules, sort_keys=True).encode()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items(), key=lambda item: (item[0] != "Chart.yaml", item[0])):
            info = tarfile.TarInfo(f"binderhub/{name}")
            info.size, info.mtime, info.mode = len(content), EPOCH, 0o644
            tar.addfile(info, io.BytesIO(content))
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.{os.getpid()}")
    part.write_bytes(gzip.compress(plain.getvalue(), mtime=EPOCH))
    part.rename(output)
    return output
