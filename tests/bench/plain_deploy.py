"""The same machine by plain pyinfra operations, one for each thing: what ``binder-node up`` is compared with.

Run by the ``pyinfra`` command (see ``second_up.py``); ``BENCH_INVENTORY`` names the inventory.
"""

import io
import os
from pathlib import Path

from pyinfra.operations import files, server, systemd

from binder_node.cluster.engine.files import engine_files
from binder_node.cluster.manifests import manifests
from binder_node.events import silent
from binder_node.host.render import render
from binder_node.lifecycle import opened
from binder_node.providers import provider_for

found = opened.open_spec(os.environ["BENCH_INVENTORY"], Path(os.environ["BINDER_NODE_PINS"]))
node = opened.open_node(found, silent, sources=opened.sources("", None))
address = provider_for(node).address(None)
wanted = render(
    node.spec,
    node.secrets,
    node.artifacts,
    address,
    manifests(node.spec, address),
    engine_files(node.spec),
    sealing=node.sealing,
)


def mode(value: int) -> str:
    return f"{value:o}"


for part in wanted.components:
    for user in part.users:
        server.user(name=f"user {user.name}", user=user.name, present=True)
    for folder in part.folders:
        files.directory(
            name=folder.path, path=folder.path, mode=mode(folder.mode), user=folder.owner, group=folder.group
        )
    for upload in part.uploads:
        files.file(name=upload.path, path=upload.path, mode=mode(upload.mode))
    for copy in part.copies:
        files.file(name=copy.path, path=copy.path)
    for file in part.all_files():
        files.put(
            name=file.path,
            src=io.BytesIO(file.content),
            dest=file.path,
            mode=mode(file.mode),
            user=file.owner,
            group=file.group,
        )
    for link in part.links:
        files.link(name=link.path, path=link.path, target=link.target, create_remote_dir=False)
    for unit in part.units:
        systemd.service(name=unit.name, service=unit.name, running=unit.running, enabled=unit.enabled)
