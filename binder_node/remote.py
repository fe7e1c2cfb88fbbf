"""OpenSSH at the edge: one strict configuration a node, commands, uploads and tunnels over one shared connection."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from binder_node.errors import DeadlineError, StepError
from binder_node.node import Access

# ssh's own exit code when it is ssh that failed, not the command (ssh(1), EXIT STATUS).
SSH_FAILED = 255
CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command on a machine."""

    code: int
    stdout: str
    stderr: str


def ssh_config(access: Access) -> str:
    """The OpenSSH configuration for a node: its own key, its own known_hosts, nothing of the user's.

    AES-GCM first: on machines with AES instructions it is several times as fast as the default cipher. A control
    socket keeps the connection for a minute, so that a run of commands pays for one handshake.
    """
    return "\n".join(
        [
            f"Host {access.name}",
            f"  HostName {access.address}",
            f"  Port {access.port}",
            f"  User {access.user}",
            f"  IdentityFile {access.identity}",
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
            f"  UserKnownHostsFile {access.known_hosts}",
            "  GlobalKnownHostsFile none",
            "  StrictHostKeyChecking yes",
            f"  HostKeyAlias {access.name}",
            "  HostKeyAlgorithms ssh-ed25519",
            "  UpdateHostKeys no",
            "  PasswordAuthentication no",
            "  KbdInteractiveAuthentication no",
            "  BatchMode yes",
            f"  ConnectTimeout {CONNECT_SECONDS}",
            "  ServerAliveInterval 15",
            "  ServerAliveCountMax 4",
            "  Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com",
            "  Compression no",
            "  LogLevel ERROR",
            "  ControlMaster auto",
            f"  ControlPath {access.config.parent}/control",
            "  ControlPersist 60",
            "",
        ]
    )


def write_access(access: Access, login_key: str, host_key_public: str) -> None:
    """Write the node's key, known_hosts and configuration (0600) where ``access`` says; unchanged files stay."""
    access.config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = {
        access.identity: login_key if login_key.endswith("\n") else login_key + "\n",
        # By its alias for ssh, by its address for clients that know none (plain pyinfra).
        access.known_hosts: f"{access.name},{_known_as(access)} {host_key_public.strip()}\n",
        access.config: ssh_config(access),
    }
    for path, text in wanted.items():
        if not text.strip() or (path.exists() and path.read_text() == text):
            continue
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(text)


def _known_as(access: Access) -> str:
    return access.address if access.port == 22 else f"[{access.address}]:{access.port}"


def ssh_argv(access: Access, *command: str) -> list[str]:
    """The ``ssh`` command line for a node; holds no secret."""
    return ["ssh", "-F", str(access.config), access.name, *command]


def run(
    access: Access, script: str, *, timeout: float = 60, input: str | bytes | None = None, check: bool = True
) -> Result:
    """Run a shell script on the machine, as its login user.

    Raises:
        StepError: ssh itself failed, or (with ``check``) the script ended with another code than 0.
        DeadlineError: it did not end within ``timeout`` seconds; what it started may run on.
    """
    data = input.encode() if isinstance(input, str) else input
    try:
        done = subprocess.run(
            ssh_argv(access, script),
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(access.name, f"a command: {_first_line(script)}", timeout, _text(error.stderr)) from error
    result = Result(done.returncode, _text(done.stdout), _text(done.stderr))
    if result.code == SSH_FAILED:
        raise connection_failed(access, result.stderr)
    if check and result.code != 0:
        raise StepError(access.name, _first_line(script), result.stderr or result.stdout or f"exit code {result.code}")
    return result


def _text(data: bytes | str | None) -> str:
    if data is None:
        return ""
    return data if isinstance(data, str) else data.decode(errors="replace")


def _first_line(script: str) -> str:
    first, _, rest = script.strip().partition("\n")
    return first + (" ..." if rest else "")


def connection_failed(access: Access, stderr: str) -> StepError:
    """What a failed connection means, found out by asking the machine which key it shows.

    A wrong host key is refused at once and said as such: somebody else answers at this address, or the machine was
    made anew.
    """
    shown = shown_host_key(access.address, access.port)
    known = _second_and_third(access.known_hosts.read_text()) if access.known_hosts.exists() else ""
    if shown and known and shown != known:
        return StepError(
            access.name,
            f"connect to {access.address}",
            f"another host key answers there: {shown[:40]}..., not {known[:40]}...",
            "nothing was sent; the machine was replaced or somebody is in between: look at its console, do not go on",
        )
    return StepError(
        access.name, f"connect to {access.address}", stderr or "ssh failed", f"try `binder-node ssh {access.name}`"
    )


def _second_and_third(line: str) -> str:
    return " ".join(line.split()[1:3])


def shown_host_key(address: str, port: int, timeout: float = 5) -> str:
    """The ed25519 host key that a machine shows, as ``ssh-ed25519 AAAA...``; empty when nobody answers."""
    try:
        done = subprocess.run(
            ["ssh-keyscan", "-T", str(int(timeout)), "-t", "ed25519", "-p", str(port), address],
            capture_output=True,
            timeout=timeout + 5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    lines = [line for line in _text(done.stdout).splitlines() if line and not line.startswith("#")]
    return _second_and_third(lines[0]) if lines else ""


def answers(access: Access, timeout: float = 5) -> bool:
    """Whether the machine lets us in now, with the right host key.

    Raises:
        StepError: another host key answers at the address.
    """
    with socket.socket() as knock:
        knock.settimeout(timeout)
        try:
            knock.connect((access.address, access.port))
        except OSError:
            return False
    try:
        return run(access, "true", timeout=timeout + CONNECT_SECONDS, check=False).code == 0
    except DeadlineError:
        return False
    except StepError as error:
        if "another host key" in error.reason:
            raise
        return False


def wait_for_ssh(access: Access, seconds: float) -> None:
    """Wait until the machine lets us in.

    Raises:
        StepError: another host key answers.
        DeadlineError: nobody let us in within ``seconds``; says what was seen last.
    """
    deadline = time.monotonic() + seconds
    while not answers(access, timeout=2):
        if time.monotonic() > deadline:
            raise DeadlineError(
                access.name, f"ssh at {access.address}", seconds, remedy="look at the machine's console"
            )
        time.sleep(0.1)


def upload(access: Access, source: Path, target: str, *, mode: int = 0o644, timeout: float = 900) -> None:
    """Copy a file to the machine under a temporary name, then rename it: a half one is never seen.

    Through ``cat`` over the shared connection: no second handshake, and as fast as the cipher.
    """
    script = f"cat > '{target}.part' && chmod {mode:o} '{target}.part' && mv -f '{target}.part' '{target}'"
    with source.open("rb") as data:
        try:
            done = subprocess.run(
                ssh_argv(access, script), stdin=data, capture_output=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(access.name, f"the upload of {source.name}", timeout) from error
    if done.returncode == SSH_FAILED:
        raise connection_failed(access, _text(done.stderr))
    if done.returncode != 0:
        raise StepError(access.name, f"upload {source.name}", _text(done.stderr), "is the machine's disk full?")


@contextlib.contextmanager
def tunnel(access: Access, remote_port: int, remote_host: str = "127.0.0.1", wait: float = 20) -> Iterator[int]:
    """Forward a free local port of loopback to ``remote_host:remote_port`` as the machine sees it; yields the port.

    Its own connection (no control socket), so that its end is the tunnel's end.

    Raises:
        StepError: ssh failed.
        DeadlineError: the tunnel did not open within ``wait`` seconds.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    argv = ssh_argv(access)
    argv[1:1] = ["-N", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]
    argv[1:1] = ["-L", f"127.0.0.1:{port}:{remote_host}:{remote_port}"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + wait
        while not _listens(port):
            if process.poll() is not None:
                assert process.stderr is not None
                raise connection_failed(access, _text(process.stderr.read()))
            if time.monotonic() > deadline:
                raise DeadlineError(access.name, f"a tunnel to port {remote_port}", wait)
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)
        if process.stderr is not None:
            process.stderr.close()


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0
