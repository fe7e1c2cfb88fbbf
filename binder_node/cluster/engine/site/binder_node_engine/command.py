"""From what repo2docker asks for to the arguments of one ``buildctl build``. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Frontends that BuildKit has built in, at the version of the running buildkitd: asking Docker Hub for another copy
# costs a pull from a limited allowance, and old copies do not know BuildKit's memory limit. `-labs` has more features.
_BUILT_IN = re.compile(r"^(docker\.io/)?docker/dockerfile(:(?!.*labs)[\w.-]+)?(@sha256:[0-9a-f]{64})?$")
# https://docs.docker.com/reference/dockerfile/#parser-directives: comments at the very top, case-insensitive names.
_DIRECTIVE = re.compile(r"^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")


# BuildKit's own name for a step's host (executor/oci/hosts.go). It has to be said: a step without a name gets a network
# that another one has just used (util/network/cniprovider/cni.go keeps them for five minutes), and with its address
# what the firewall remembers of that one. One name for all: it is part of a step's cache key.
HOST_NAME = "buildkitsandbox"


@dataclass(frozen=True)
class Output:
    """How the image is written. ``compression`` is a BuildKit name, ``level`` its level (0: the default)."""

    push: bool = False
    unpack: bool = True
    compression: str = "zstd"
    level: int = 1
    insecure: bool = False


@dataclass(frozen=True)
class Limits:
    """Of each build step: bytes of memory, bytes of the largest file; 0 is none."""

    memory: int = 0
    file: int = 0


@dataclass(frozen=True)
class Request:
    """One build. ``context`` is the folder sent, ``dockerfile`` the file's path below it."""

    tag: str
    context: Path
    dockerfile: str = "Dockerfile"
    output: Output = Output()
    limits: Limits = Limits()
    platform: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    built_in_frontend: bool = True


def fields(*pairs: str) -> str:
    """One line of comma-separated values, quoted where a value has commas or quotes, as buildctl reads them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(pairs)
    return line.getvalue()


def output(tag: str, how: Output) -> str:
    """The ``--output`` value: one OCI manifest, never an index (BinderHub asks for a manifest and would rebuild)."""
    pairs = ["type=image", f"name={tag}", f"push={str(how.push).lower()}", "oci-mediatypes=true"]
    pairs += [f"compression={how.compression}", "force-compression=true"]
    if how.level:
        pairs.append(f"compression-level={how.level}")
    if how.unpack:
        pairs.append("unpack=true")
    if how.insecure:
        pairs.append("registry.insecure=true")
    return fields(*pairs)


def options(request: Request) -> dict[str, str]:
    """Options of the Dockerfile frontend (buildkit frontend/dockerui/config.go, v0.33.1).

    The limits must be the same in every build: ``ulimit`` is part of a step's cache key. ``memory`` is not, but
    ``cgroup-parent`` is, which is why the build pod's cgroup cannot be handed over: no step would ever be cached.
    """
    chosen = {"filename": request.dockerfile, "hostname": HOST_NAME}
    if request.platform:
        chosen["platform"] = request.platform
    if request.built_in_frontend:
        chosen["cmdline"] = "docker/dockerfile"  # its presence turns the search for a `# syntax=` line off
    if request.limits.memory:
        # The two equal: no swap.
        chosen["memory"] = chosen["memswap"] = str(request.limits.memory)
    if request.limits.file:
        chosen["ulimit"] = f"fsize={request.limits.file}:{request.limits.file}"
    chosen.update({f"build-arg:{name}": value for name, value in request.build_args.items()})
    chosen.update({f"label:{name}": value for name, value in request.labels.items()})
    return chosen


def arguments(buildctl: str, request: Request, trace: Path, metadata: Path) -> list[str]:
    """The whole command. ``trace`` gets BuildKit's structured progress, ``metadata`` what was built."""
    command = [buildctl, "build", "--frontend=dockerfile.v0", "--progress=plain"]
    command += [f"--trace={trace}", f"--metadata-file={metadata}"]
    command += [f"--local=context={request.context}", f"--local=dockerfile={request.context}"]
    for name, value in options(request).items():
        command += ["--opt", f"{name}={value}"]
    for image in request.cache_from:
        command += ["--import-cache", fields("type=registry", f"ref={image}")]
    return [*command, "--output", output(request.tag, request.output)]


def wants_other_frontend(dockerfile: str) -> bool:
    """Whether a ``# syntax=`` line asks for a frontend that BuildKit does not have built in."""
    for line in dockerfile.lstrip("\ufeff").splitlines():
        directive = _DIRECTIVE.match(line)
        if directive is None:
            if line.startswith("#!"):
                continue
            return False
        if directive[1].lower() == "syntax":
            return not _BUILT_IN.match(directive[2].split()[0])
    return False
