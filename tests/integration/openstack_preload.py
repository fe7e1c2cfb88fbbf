"""What a fork server imports once: the SDK's services, and not a thread among them."""

from __future__ import annotations

import keystoneauth1.identity.v3
import openstack.connection

import tests.integration.openstack_fixtures

__all__ = ["keystoneauth1", "openstack", "tests"]
