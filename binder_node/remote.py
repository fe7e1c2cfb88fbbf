"""OpenSSH at the edge: one strict configuration a node, commands, uploads and tunnels over one shared connection."""

from __future__ import annotations

import contextlib
import selectors
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from binder_node import files
from binder_node.errors import DeadlineError, StepError
from binder_node.hostkeys import described, preferred
from binder_node.node import Access

# ssh's own exit code when it is ssh that failed, not the command (ssh(1), EXIT STATUS).
SSH_FAILED = 255
CONNECT_SECONDS = 10
# A Unix socket's path has 107 bytes (unix(7)); ssh binds it under a name that is 17 longer and renames it.
CONTROL_PATH_BYTES = 90
# What a tunnel's other side says first: ssh sets up its forwardings before it starts a command.
OPEN = "open"


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command on a machine."""

    code: int
    stdout: str
    stderr: str


def ssh_config(access: Access) -> str:
    """The OpenSSH configuration for a node: its own key, its own known_hosts, nothing of the user's.

    AES-GCM first: on machines with AES instructions it is several times as fast as the default cipher. A control
    socket keeps the connection for a minute, so that a run of commands pays for one handshake; where its path would
    be too long for a socket, every command connects anew. No ``HostKeyAlgorithms``: ssh asks for the kind of key that
    known_hosts has.
    """
    return "\n".join(
        [
            f"Host {access.name}",
            f"  HostName {access.address}",
            f"  Port {access.port}",
            f"  User {access.user}",
            *_identity(access),
            f"  UserKnownHostsFile {access.known_hosts}",
            "  GlobalKnownHostsFile none",
            "  StrictHostKeyChecking yes",
            f"  HostKeyAlias {access.name}",
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
            *_control(access),
            "",
        ]
    )


def _identity(access: Access) -> list[str]:
    if access.agent:  # whichever of its keys is let in; none of the user's files
        return ["  IdentityFile none", "  IdentityAgent SSH_AUTH_SOCK"]
    return [f"  IdentityFile {access.identity}", "  IdentitiesOnly yes", "  IdentityAgent none"]


def control_path(access: Access) -> Path:
    """The socket of the shared connection."""
    return access.config.parent / "control"


def _control(access: Access) -> list[str]:
    path = str(control_path(access))
    if len(path.encode()) > CONTROL_PATH_BYTES:
        return ["  ControlMaster no", "  ControlPath none"]
    return ["  ControlMaster auto", f"  ControlPath {path}", "  ControlPersist 60"]


def write_access(access: Access, login_key: str, host_key_public: str) -> None:
    """Write the node's key, known_hosts and configuration (0600) where ``access`` says; unchanged files stay.

    Each is renamed into place, so that another run of the same node never reads half a key. An empty ``login_key``
    leaves ``access.identity`` alone: it is the operator's own.
    """
    access.config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = {
        **({access.identity: login_key.rstrip("\n") + "\n"} if login_key else {}),
        # By its alias for ssh, by its address for clients that know none (plain pyinfra).
        access.known_hosts: f"{access.name},{_known_as(access)} {host_key_public.strip()}\n",
        access.config: ssh_config(access),
    }
    for path, text in wanted.items():
        if path.exists() and path.read_text() == text:
            continue
        files.replace(path, text.encode())


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
    return _another_key(access) or StepError(
        access.name,
        f"connect to {access.address}",
        stderr or "ssh failed",
        f"try `binder-node ssh {access.name}`",
    )


def _another_key(access: Access) -> StepError | None:
    shown = shown_host_keys(access.address, access.port)
    known = [_key(line) for line in access.known_hosts.read_text().splitlines()] if access.known_hosts.exists() else []
    if not shown or not known or not shown.isdisjoint(known):
        return None
    return StepError(
        access.name,
        f"connect to {access.address}",
        f"another host key answers there: {' or '.join(map(described, preferred(shown)))}, not {described(known[0])}",
        "nothing was sent; the machine was replaced or somebody is in between: look at its console, do not go on",
    )


def _key(line: str) -> str:
    """The key in a line of known_hosts: ``NAME ssh-ed25519 AAAA...`` -> ``ssh-ed25519 AAAA...``."""
    return " ".join(line.split()[1:3])


def shown_host_keys(address: str, port: int, timeout: float = 5) -> set[str]:
    """The host keys that a machine shows, as ``ssh-ed25519 AAAA...``; none when nobody answers in ``timeout`` s."""
    argv = ["ssh-keyscan", "-T", str(int(timeout)), "-t", "ed25519,ecdsa,rsa", "-p", str(port), address]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout * 3 + 5, check=False)
    except subprocess.TimeoutExpired:
        return set()
    return {_key(line) for line in _text(done.stdout).splitlines() if line and not line.startswith("#")}


def hindrance(access: Access, timeout: float = 5) -> str:
    """What keeps us from logging in just now, in one line; empty when nothing does.

    Raises:
        StepError: another host key answers at the address; waiting would not help.
    """
    barred, failed = knock(access, "true", timeout)
    return barred or (f"port {access.port} answers, the login does nothing for us: {failed}" if failed else "")


def knock(access: Access, command: str, timeout: float = 5) -> tuple[str, str]:
    """:func:`hindrance`, and of a login that is let in why ``command`` failed, in one line; both empty: all is well.

    Raises:
        StepError: another host key answers at the address.
    """
    with socket.socket() as plug:
        plug.settimeout(timeout)
        try:
            plug.connect((access.address, access.port))
        except OSError as error:
            return f"port {access.port} does not answer: {error.strerror or error}", ""
    seconds = timeout + CONNECT_SECONDS
    try:
        done = subprocess.run(
            ssh_argv(access, command), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        # A shared connection to a machine that is gone would be waited for again and again; who uses it may go on.
        disconnect(access, "stop")
        return f"port {access.port} answers, the login took longer than {seconds:.0f} s", ""
    if done.returncode == 0:
        return "", ""
    if done.returncode == SSH_FAILED and (wrong := _another_key(access)):
        raise wrong
    # Cloud images let root in to be told on stdout, by a forced command, which login to take instead.
    said = (_text(done.stderr).strip() or _text(done.stdout).strip()).splitlines()
    last = said[-1] if said else f"exit code {done.returncode}"
    if done.returncode != SSH_FAILED:
        return "", last
    return f"port {access.port} answers, the login fails: {last}", ""


def let_become_root(user: str) -> str:
    """What an operator does where sudo wants a password: nobody is there to type it."""
    return f"run there, once: echo '{user} ALL=(ALL) NOPASSWD:ALL' | sudo tee /etc/sudoers.d/90-binder-node"


def answers(access: Access, timeout: float = 5) -> bool:
    """Whether the machine lets us in now, with the right host key.

    Raises:
        StepError: another host key answers at the address.
    """
    return not hindrance(access, timeout)


def wait_for_ssh(access: Access, seconds: float, alive: Callable[[], None] = lambda: None) -> None:
    """Wait until the machine lets us in. ``alive`` is asked between tries; it raises when waiting is in vain.

    Raises:
        StepError: another host key answers.
        DeadlineError: nobody let us in within ``seconds``; says what was seen last.
    """
    deadline = time.monotonic() + seconds
    while last := hindrance(access, timeout=2):
        alive()
        if time.monotonic() > deadline:
            raise DeadlineError(access.name, f"ssh at {access.address}", seconds, last, "look at the machine's console")
        time.sleep(0.05)


def disconnect(access: Access, how: Literal["exit", "stop"] = "exit") -> None:
    """End the shared connection with all that runs over it, or (``stop``) when that is done; new commands connect anew.

    No error where there is none, or where its process died.
    """
    if access.config.exists():
        argv = ssh_argv(access)
        argv[1:1] = ["-O", how]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    control_path(access).unlink(missing_ok=True)


def upload(access: Access, source: Path, target: str, *, mode: int = 0o644, timeout: float = 900) -> None:
    """Copy a file to the machine under a temporary name, then rename it: a half one is never seen.

    Through ``cat`` over the shared connection: no second handshake, and as fast as the cipher.

    Raises:
        StepError: ssh failed, or the machine could not write.
        DeadlineError: it took longer than ``timeout`` seconds.
    """
    part, whole = shlex.quote(f"{target}.part"), shlex.quote(target)
    script = f"cat > {part} && chmod {mode:o} {part} && mv -f {part} {whole}"
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

    Its own connection (no control socket), so that its end is the tunnel's end. It does not outlive this process,
    however that ends: the other side waits on a pipe that closes with it. Whether something listens at the other end
    shows when the port is used.

    Raises:
        StepError: ssh failed.
        DeadlineError: the tunnel did not open within ``wait`` seconds.
    """
    with tempfile.TemporaryFile() as stderr:
        port, process = _open_tunnel(access, f"{remote_host}:{remote_port}", wait, stderr)
        try:
            yield port
        finally:
            _end(process)


def _open_tunnel(access: Access, target: str, wait: float, stderr: IO[bytes]) -> tuple[int, subprocess.Popen[bytes]]:
    deadline = time.monotonic() + wait
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        argv = ssh_argv(access, f"echo {OPEN} && exec cat >/dev/null")
        argv[1:1] = ["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]
        argv[1:1] = ["-L", f"127.0.0.1:{port}:{target}"]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        try:
            said = _first_word(process, deadline - time.monotonic())
        except BaseException:
            _end(process)
            raise
        if said == OPEN:
            return port, process
        _end(process)
        if said is None or time.monotonic() > deadline:
            raise DeadlineError(access.name, f"a tunnel to {target}", wait, _written(stderr))
        if not _listens(port):  # else somebody took the port before ssh did: another one
            raise connection_failed(access, _written(stderr))


def _first_word(process: subprocess.Popen[bytes], seconds: float) -> str | None:
    """What a process writes first (empty: it ended without a word); None when ``seconds`` passed."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(max(seconds, 0)):
            return None
    return process.stdout.readline().decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0
