"""What happens to machines: power, disks and their rebuilding, as actions of the project and work of its machines."""

from __future__ import annotations

from collections.abc import Callable

from tests.testbed.hetzner.actions import Action
from tests.testbed.hetzner.errors import ApiError
from tests.testbed.hetzner.machines import Wanted
from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.resources import Server, Volume


def wanted(project: Project, server: Server) -> Wanted:
    """The machine behind a server, as it is to be now."""
    ip = project.ip_of(server.id, "ipv4")
    image = next((row.name for row in project.catalogue.images if row.id == server.image), "")
    return Wanted(
        id=server.id,
        name=server.name,
        address=ip.ip if ip else "",
        disk=server.disk,
        image=image,
        user_data=server.user_data,
        ssh_keys=server.ssh_keys,
        volumes=tuple((row.id, row.size) for row in project.volumes_of(server.id)),
    )


def start(project: Project, server: Server, command: str = "start_server", after: Action | None = None) -> Action:
    """Power on; ``reboot_server`` and ``reset_server`` power off before."""

    def work() -> None:
        with project.lock:
            machine = wanted(project, server)
        if command != "start_server":
            project.machines.stop(server.id, wait_for_it=command == "reboot_server")
        project.machines.start(machine)

    def running() -> None:
        server.status = "running"

    if after is None and server.off:
        server.status = "starting"
    return project.action(command, ("server", server.id), after=after, work=work, effect=running, undo=down(server))


def down(server: Server) -> Callable[[], None]:
    def off() -> None:
        server.status = "off"

    return off


def stop(project: Project, server: Server, command: str) -> Action:
    """``stop_server`` cuts the power, ``shutdown_server`` has the machine end by itself."""
    work = lambda: project.machines.stop(server.id, wait_for_it=command == "shutdown_server")  # noqa: E731
    server.status = "stopping"
    return project.action(command, ("server", server.id), work=work, effect=down(server))


def removal(project: Project, server: Server) -> Callable[[], None]:
    return lambda: project.machines.remove(server.id)


def rebuild(project: Project, server: Server) -> Action:
    """The disk is made anew; volumes stay."""

    def work() -> None:
        with project.lock:
            machine = wanted(project, server)
        project.machines.remove(server.id)
        project.machines.start(machine)

    def running() -> None:
        server.status = "running"

    server.status = "rebuilding"
    return project.action("rebuild_server", ("server", server.id), work=work, effect=running, undo=down(server))


def attach(project: Project, volume: Volume, server: Server, after: Action | None = None) -> Action:
    def work() -> None:
        project.machines.attach(server.id, volume.id, volume.size, volume.format)

    def undone() -> None:
        volume.server = None

    volume.server = server.id
    resources = (("server", server.id), ("volume", volume.id))
    return project.action("attach_volume", *resources, after=after, work=work, undo=undone)


def detach(project: Project, volume: Volume) -> Action:
    server = volume.server
    if server is None:
        raise ApiError("invalid_input", "volume is not attached to a server")

    def work() -> None:
        project.machines.detach(server, volume.id)

    def free() -> None:
        volume.server = None

    return project.action("detach_volume", ("server", server), ("volume", volume.id), work=work, effect=free)
