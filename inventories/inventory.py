"""The nodes as a pyinfra inventory: ``pyinfra inventories/inventory.py exec -- uptime``, or with ``--limit NODE``.

Hosts are the inventories beside this file that ``binder-node up`` has given a machine: it keeps an ssh configuration
for each, with the machine's host key as the only one that is trusted. Groups: ``nodes``, and ``local``, ``ssh``, ...
by provider.
"""

import os
from pathlib import Path

import platformdirs

from binder_node.spec.load import load

override = os.environ.get("BINDER_NODE_STATE")
state = Path(override) if override else platformdirs.user_state_path("binder-node")

nodes = []
local = []
ssh = []
for file in sorted(Path(__file__).parent.glob("*.yaml")):
    config = state / file.stem / "ssh_config"
    if config.is_file():
        spec = load(file)
        data = {
            "ssh_config_file": str(config),
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
            "ssh_strict_host_key_checking": "yes",
            "_sudo": spec.ssh.user != "root",
            "spec": spec,
        }
        nodes.append((spec.name, data))
        {"local": local, "ssh": ssh}[spec.provider.kind].append((spec.name, data))
