"""Getting at what runs on a node: a fresh kubeconfig, the logs of a component."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from binder_node import remote
from binder_node.cluster import operators
from binder_node.cluster.kube import fetch_kubeconfig, kubeconfig, sudo
from binder_node.cluster.operators import AccessStage
from binder_node.errors import InputError, Problem
from binder_node.events import Reporter, step
from binder_node.federation.worktree import Worktree
from binder_node.host.logs import UNITS
from binder_node.layout import API_PORT, NAMESPACE
from binder_node.lifecycle.opened import Opened, access_of, open_bare
from binder_node.spec.model import NodeStorage
from binder_node.spec.quantity import Quantity
from binder_node.storage.probe import Probe, probe
from binder_node.storage.stage import StorageStage

# Deployments of the release, by the names that operators use.
PODS = ("hub", "proxy", "binder")


def write_kubeconfig(opened: Opened, *, tunnel: bool, file: Path | None) -> None:
    """Write a kubeconfig for the node to ``file`` (0600) or stdout; with ``tunnel`` keep one open until interrupted.

    Without a tunnel it names the node's own address, which answers only where ``kubernetes.api_from`` opens it.
    """
    access, address = access_of(opened)
    text = fetch_kubeconfig(access)
    if not tunnel:
        _write(kubeconfig(text, f"https://{address}:{API_PORT}", opened.spec.name), file)
        return
    with remote.tunnel(access, API_PORT) as port:
        _write(kubeconfig(text, f"https://127.0.0.1:{port}", opened.spec.name), file)
        sys.stderr.write(f"{opened.spec.name}: the API is at https://127.0.0.1:{port} until Ctrl-C\n")
        while True:
            time.sleep(3600)


def write_operators(opened: Opened, operator: str, *, renew: bool, file: Path | None) -> None:
    """Write ``operator``'s own kubeconfig to ``file`` (0600) or stdout; with ``renew`` after a new token was made.

    Raises:
        InputError: the inventory does not name the operator, or the file would be committed in clear.
        StepError, DeadlineError: the machine does not answer, or has no token for them.
    """
    if file is not None:
        Worktree(file.absolute().parent).refuse_clear(file.name)
    access, address = access_of(opened)
    stage = AccessStage(open_bare(opened), access)
    if renew and operator in stage.wanted:
        stage.renew(operator)
    token, authority = stage.token(operator)
    if not opened.spec.kubernetes.api_from:
        sys.stderr.write(f"{opened.spec.name}: nobody is let in to the API yet: set kubernetes.api_from\n")
    _write(operators.kubeconfig(opened.spec, operator, token, authority, operators.server(address)), file)


def _write(text: str, file: Path | None) -> None:
    if file is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        os.fchmod(handle, 0o600)
        out.write(text)


def logs_command(component: str, lines: int, follow: bool) -> str | None:
    """The shell line that shows a component's log on its node; None for a component that there is not.

    >>> logs_command("k3s", 20, False)
    'journalctl --no-pager -o short-iso -n 20 -u k3s.service'
    >>> logs_command("hub", 5, True)
    'k3s kubectl logs -n binder --tail 5 -f deployment/hub'
    """
    if component in UNITS:
        units = " ".join(f"-u {unit}" for unit in UNITS[component])
        return f"journalctl --no-pager -o short-iso -n {lines}{' -f' if follow else ''} {units}"
    if component in PODS:
        return f"k3s kubectl logs -n {NAMESPACE} --tail {lines}{' -f' if follow else ''} deployment/{component}"
    return None


def show_logs(opened: Opened, component: str, *, lines: int, follow: bool) -> int:
    """Show a component's log on stdout; ssh's or the command's exit code.

    Raises:
        InputError: there is no such component.
    """
    command = logs_command(component, lines, follow)
    if command is None:
        right = f"say one of {', '.join([*UNITS, *PODS])}"
        raise InputError(Problem("", 0, "COMPONENT", f"{component!r} is none of a node's components", right))
    access, _ = access_of(opened)
    return subprocess.run(remote.ssh_argv(access, sudo(access) + command), check=False).returncode


def probe_storage(opened: Opened, size: str, report: Reporter) -> Probe:
    """Prove the node's bucket with its own key: write ``size`` (``4G``), read it back, delete it.

    Raises:
        InputError: ``size`` is none.
        StepError, DeadlineError: the bucket cannot be reached, or refused; S3's code is the reason.
    """
    try:
        wanted = Quantity(size)
    except ValueError as error:
        raise InputError(Problem("", 0, "--size", str(error), "")) from error
    needs_machine = isinstance(opened.spec.storage, NodeStorage)
    access = access_of(opened)[0] if needs_machine else None
    with (
        StorageStage(open_bare(opened), access).endpoint() as endpoint,
        step(report, "storage", f"write, read and delete {wanted} in {endpoint.bucket}"),
    ):
        return probe(endpoint, int(wanted))
