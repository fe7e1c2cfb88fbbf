"""``python -m tests.testbed.hetzner``: the stand-in for Hetzner Cloud's API, until it is interrupted.

Prints one line of JSON when it answers: its endpoint, the two tokens and the control path. It is not Hetzner's.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from binder_node.errors import BinderNodeError
from tests.testbed.hetzner.contract import Contract, document_path
from tests.testbed.hetzner.machines import Machines, NoMachines
from tests.testbed.hetzner.nspawn import NspawnMachines
from tests.testbed.hetzner.server import NETWORK, HetznerApi


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.testbed.hetzner", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0: a free one")
    parser.add_argument("--network", type=IPv4Network, default=NETWORK, help="where servers get their addresses from")
    parser.add_argument("--pace", type=float, default=1.0, help="how slow actions are; 0: no time at all")
    parser.add_argument(
        "--machines", type=Path, metavar="FOLDER", help="boot servers as machines; their files go there"
    )
    parser.add_argument("--strict", action="store_true", help="judge every answer by the OpenAPI document")
    asked = parser.parse_args(argv)
    contract = None
    if asked.strict:
        if (path := document_path()) is None:
            print("there is no OpenAPI document; set BINDER_NODE_HETZNER_OPENAPI", file=sys.stderr)
            return 2
        contract = Contract.load(path)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        machines: Machines = NspawnMachines(asked.network, asked.machines) if asked.machines else NoMachines()
        how: dict[str, Any] = {"network": asked.network, "machines": machines, "pace": asked.pace, "contract": contract}
        with HetznerApi(**how, port=asked.port) as cloud:
            told = {"endpoint": cloud.endpoint, "token": cloud.token, "read_token": cloud.read_token}
            print(json.dumps({**told, "admin": cloud.admin}), flush=True)
            ended.wait()
    except BinderNodeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
