"""A stand-in for the parts of OpenStack's APIs that the provider uses: Keystone, Nova, Neutron, Glance and Cinder.

It is no OpenStack: it keeps the shapes, states and refusals of the real services' answers (API references at
https://docs.openstack.org/api-ref/) for what a node needs, on one loopback port, with faults to switch on.
"""
