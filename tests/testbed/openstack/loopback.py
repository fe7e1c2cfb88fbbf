"""Machines that are nothing but an ssh server (paramiko's), each on a loopback address of its own.

Enough to be found, knocked at and logged in to, strictly: the host key and the keys that are let in are the
user-data's. Whole machines are :mod:`tests.testbed.hetzner`'s.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import socket
import threading
from collections.abc import Sequence

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)
from ruamel.yaml import YAML

from tests.testbed.hetzner.machines import NoMachines, Wanted

PORT = 22
logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)  # who only knocks is no news


class Session(paramiko.ServerInterface):
    """One connection: public keys only. Of a machine's commands it knows those about its volume."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = username == self.machine.user and f"{key.get_name()} {key.get_base64()}" in self.machine.keys
        return int(AUTH_SUCCESSFUL if known else AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del chanid
        return int(OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.run, args=(channel, command.decode()), daemon=True).start()
        return True

    def run(self, channel: paramiko.Channel, command: str) -> None:
        code, wanted = 0, re.search(r"/dev/disk/by-id/\*([0-9a-f-]+)\*", command)
        if wanted is not None and self.machine.disks:
            channel.sendall(f"/dev/disk/by-id/virtio-{wanted[1]}\n".encode())
        elif command in ("sh -s", "sudo -n sh -s"):
            while channel.recv(4096):
                pass
            self.machine.mounted = True
        elif "mountpoint -d" in command:
            code = 0 if self.machine.mounted else 1
        channel.send_exit_status(code)
        channel.close()


class Machine:
    """Listens until :meth:`close`."""

    def __init__(self, wanted: Wanted) -> None:
        seed = YAML(typ="safe").load(wanted.user_data)
        self.key = paramiko.Ed25519Key(file_obj=io.StringIO(seed["ssh_keys"]["ed25519_private"]))
        self.user = seed["users"][0]["name"]
        self.keys = [" ".join(key.split()[:2]) for key in seed["users"][0]["ssh_authorized_keys"]]
        self.disks: set[int] = {id_ for id_, _ in wanted.volumes}
        self.mounted = False
        self.open: list[paramiko.Transport] = []
        self.socket = socket.create_server((wanted.address, PORT), backlog=20)  # it closes what it cannot bind
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.key)
            self.open.append(transport)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):  # one that only knocked
                transport.start_server(event=threading.Event(), server=Session(self))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for transport in self.open:
            transport.close()


class LoopbackMachines(NoMachines):
    """``started`` counts the machines that were ever made."""

    def __init__(self) -> None:
        self.running: dict[int, Machine] = {}
        self.started = 0

    def start(self, wanted: Wanted) -> None:
        if wanted.id not in self.running:
            self.running[wanted.id] = Machine(wanted)
            self.started += 1

    def stop(self, server: int, *, wait_for_it: bool = False) -> None:
        del wait_for_it
        machine = self.running.pop(server, None)
        if machine is not None:
            machine.close()

    def remove(self, server: int) -> None:
        self.stop(server)

    def attach(self, server: int, volume: int, size: int, format_: str | None) -> None:
        del size, format_
        self.running[server].disks.add(volume)

    def detach(self, server: int, volume: int) -> None:
        self.running[server].disks.discard(volume)

    def close(self, volumes: Sequence[int] = ()) -> None:
        del volumes
        for server in list(self.running):
            self.stop(server)
