"""Run the stand-in by hand: ``python -m tests.testbed.openstack [--port PORT]`` prints its openrc and serves."""

from __future__ import annotations

import argparse
import sys
import time

from tests.testbed.openstack.loopback import LoopbackMachines
from tests.testbed.openstack.server import Server
from tests.testbed.openstack.state import State, region


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--regions", default="GRA11,SBG5")
    parser.add_argument("--build-seconds", type=float, default=2)
    given = parser.parse_args()
    machines = LoopbackMachines()
    state = State(machines=machines, build_seconds=given.build_seconds, delete_seconds=given.build_seconds)
    for index, name in enumerate(given.regions.split(",")):
        state.regions[name] = region(name, f"127.60.{index}.0/24")
    server = Server(state, given.port)
    server.start()
    (login,) = state.logins
    openrc = {
        "OS_AUTH_URL": server.auth_url,
        "OS_USERNAME": login.name,
        "OS_PASSWORD": f"'{login.secret}'",
        "OS_PROJECT_NAME": "project",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }
    sys.stdout.write("".join(f"export {name}={value}\n" for name, value in openrc.items()))
    sys.stdout.flush()
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
        machines.close()


if __name__ == "__main__":
    main()
