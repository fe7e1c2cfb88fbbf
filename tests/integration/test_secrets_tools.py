"""What is generated and stored, as the tools that it is meant for see it: age, OpenSSH, plain pyinfra."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from binder_node.errors import StepError
from binder_node.secrets import operations
from binder_node.secrets.generate import generate
from binder_node.secrets.identity import read_identities
from binder_node.secrets.masked import REVEAL
from binder_node.secrets.model import Secrets
from binder_node.secrets.store import SecretStore
from binder_node.spec.create import create

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def needs(*tools: str) -> pytest.MarkDecorator:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*argv: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in argv], capture_output=True, text=True, timeout=60, env={**os.environ, **more}
    )


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventories/node.yaml"
    create(
        path,
        {
            "name": "node",
            "provider": {"kind": "local"},
            "machine": {"cpus": 2, "memory": "12G", "disk": "40G"},
            "names": {"binder": "node.test"},
            "tls": {"mode": "none"},
            "storage": {"kind": "node"},
        },
    )
    return path


@needs("age", "age-keygen")
class TestAge:
    def test_the_age_tool_reads_what_we_write(self, inventory: Path, tmp_path: Path) -> None:
        identity = tmp_path / "identity.txt"
        store = SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(identity)})
        secrets, _ = store.ensure()
        done = run("age", "--decrypt", "-i", identity, store.path)
        assert secrets.model_dump(context=REVEAL, exclude={"tokens"}).items() <= json.loads(done.stdout).items()

    def test_we_read_what_the_age_tool_writes(self, inventory: Path, tmp_path: Path) -> None:
        identity = tmp_path / "identity.txt"
        assert run("age-keygen", "-o", identity).returncode == 0
        assert len(read_identities(identity)) == 1
        secrets = generate()
        plain = tmp_path / "plain.json"
        plain.write_text(json.dumps(secrets.model_dump(context=REVEAL)))
        store = SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(identity)})
        store.path.parent.mkdir()
        recipient = run("age-keygen", "-y", identity).stdout.strip()
        for armor in ((), ("--armor",)):
            assert run("age", "--encrypt", *armor, "-r", recipient, "-o", store.path, plain).returncode == 0
            assert store.load() == secrets
            assert store.ensure() == (secrets, False)


@needs("age", "age-keygen", "ssh-keygen")
class TestRecipients:
    """Several people, the age tool's and ours in any mixture: who is listed reads, who is not does not."""

    def people(self, folder: Path) -> dict[str, Path]:
        """Identity files by name: one of age's, two of ssh-keygen's."""
        found = {"ada": folder / "ada.txt", "grace": folder / "grace", "edsger": folder / "edsger"}
        assert run("age-keygen", "-o", found["ada"]).returncode == 0
        for name, kind in (("grace", ("-t", "ed25519")), ("edsger", ("-t", "rsa", "-b", "2048"))):
            assert run("ssh-keygen", "-q", *kind, "-N", "", "-C", f"{name}@host", "-f", found[name]).returncode == 0
        return found

    def public(self, identity: Path) -> str:
        ssh = identity.with_name(f"{identity.name}.pub")
        return (ssh.read_text() if ssh.exists() else run("age-keygen", "-y", identity).stdout).strip()

    def test_the_age_tool_reads_for_each_recipient_what_we_write(self, inventory: Path, tmp_path: Path) -> None:
        people = self.people(tmp_path)
        store = SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(people["ada"])})
        secrets, _ = store.ensure()
        keys = [self.public(people[name]) for name in ("grace", "edsger")]
        assert operations.apply_lists(store, add=keys).encrypted_for == 3
        for identity in people.values():
            done = run("age", "--decrypt", "-i", identity, store.path)
            assert json.loads(done.stdout)["k3s_token"] == secrets.k3s_token.reveal(), done.stderr
        operations.apply_lists(store, remove=[self.public(people["grace"])])
        assert run("age", "--decrypt", "-i", people["grace"], store.path).returncode != 0
        assert run("age", "--decrypt", "-i", people["edsger"], store.path).returncode == 0

    def test_our_list_is_the_age_tools_and_we_read_for_each_what_it_writes(
        self, inventory: Path, tmp_path: Path
    ) -> None:
        people = self.people(tmp_path)
        ada = SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(people["ada"])})
        secrets, _ = ada.ensure()
        operations.apply_lists(ada, add=[self.public(people[name]) for name in ("grace", "edsger")])
        plain = tmp_path / "plain.json"
        plain.write_bytes(run("age", "--decrypt", "-i", people["ada"], ada.path).stdout.encode())
        for armor in ((), ("--armor",)):
            command = ("age", "--encrypt", *armor, "-R", ada.path.with_name("recipients"), "-o", ada.path, plain)
            assert run(*command).returncode == 0
            for identity in people.values():
                store = SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(identity)})
                assert store.load() == secrets
                assert store.file.encrypted_for() == 3
        # And with an ssh key as the operator's own, all the way.
        grace = SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(people["grace"])})
        operations.rotate(grace, ["proxy_token"])
        assert ada.load().proxy_token == grace.load().proxy_token != secrets.proxy_token
        assert run("age", "--decrypt", "-i", people["edsger"], ada.path).returncode == 0

    def test_an_ssh_key_with_a_passphrase_is_refused_with_what_to_do(self, inventory: Path, tmp_path: Path) -> None:
        people = self.people(tmp_path)
        SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(people["grace"])}).ensure()
        assert run("ssh-keygen", "-q", "-p", "-N", "hunter2", "-f", people["grace"]).returncode == 0
        store = SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(people["grace"])})
        with pytest.raises(StepError, match="has a passphrase") as caught:
            store.load()
        # The remedy, as it is said.
        copy = tmp_path / "copy"
        shutil.copy(people["grace"], copy)
        assert "ssh-keygen -p -N '' -f COPY" in caught.value.remedy
        assert run("ssh-keygen", "-q", "-p", "-P", "hunter2", "-N", "", "-f", copy).returncode == 0
        assert SecretStore(inventory, environ={"BINDER_NODE_IDENTITY": str(copy)}).load()


@dataclass(frozen=True)
class Sshd:
    """A real sshd on loopback that has the generated host key, and lets in the generated login key only."""

    port: int
    secrets: Secrets
    folder: Path

    def config(self, host_key: str) -> Path:
        """An ssh configuration for host ``node`` that trusts ``host_key`` alone, as ``binder-node up`` writes it."""
        login = self.folder / "login_key"
        login.write_text(self.secrets.login_key.reveal())
        login.chmod(0o600)
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        config = self.folder / "ssh_config"
        config.write_text(
            f"Host node\n  HostName 127.0.0.1\n  Port {self.port}\n  User {pwd.getpwuid(os.getuid()).pw_name}\n"
            f"  IdentityFile {login}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n"
        )
        return config


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "node"
    folder.mkdir()
    secrets = generate()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    key = folder / "host_key"
    key.write_text(secrets.host_key.reveal())
    key.chmod(0o600)
    (folder / "authorized_keys").write_text(secrets.login_key_public + "\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {key}\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen(
        [str(shutil.which("sshd")), "-D", "-e", "-f", str(folder / "sshd_config")],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not listens(port):
            assert daemon.poll() is None
            assert time.monotonic() < deadline, "waited 10 s for sshd"
            time.sleep(0.05)
        yield Sshd(port, secrets, folder)
    finally:
        daemon.terminate()
        daemon.communicate(timeout=10)


@needs("ssh", "sshd", "ssh-keygen")
class TestSsh:
    def test_ssh_keygen_knows_the_keys(self, tmp_path: Path) -> None:
        secrets = generate()
        key = tmp_path / "key"
        key.write_text(secrets.host_key.reveal())
        key.chmod(0o600)
        assert run("ssh-keygen", "-y", "-f", key).stdout.strip() == secrets.host_key_public

    def test_login_is_strict_from_the_first_connection(self, sshd: Sshd) -> None:
        done = run("ssh", "-F", sshd.config(sshd.secrets.host_key_public), "node", "echo in")
        assert (done.returncode, done.stdout) == (0, "in\n")
        done = run("ssh", "-F", sshd.config(generate().host_key_public), "node", "echo in")
        assert done.returncode == 255
        assert "Host key verification failed" in done.stderr

    def test_plain_pyinfra_works_on_a_node(self, sshd: Sshd, inventory: Path) -> None:
        shutil.copy(ROOT / "inventories/inventory.py", inventory.parent)
        shutil.copy(inventory, inventory.parent / "other.yaml")  # has no machine, and no matching name: left out
        command = (sys.executable, "-m", "pyinfra", "-y", inventory.parent / "inventory.py")
        state = {"BINDER_NODE_STATE": str(sshd.folder.parent)}
        sshd.config(sshd.secrets.host_key_public)
        done = run(*command, "exec", "--", "echo", "from-the-node", **state)
        assert done.returncode == 0, done.stderr
        assert "[node] from-the-node" in done.stderr + done.stdout
        limited = run(*command, "--limit", "local", "exec", "--", "true", **state)
        assert limited.returncode == 0, limited.stderr
        sshd.config(generate().host_key_public)
        refused = run(*command, "exec", "--", "echo", "from-the-node", **state)
        assert refused.returncode != 0
        assert "from-the-node" not in refused.stdout
