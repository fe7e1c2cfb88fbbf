"""A stand-in for Hetzner Cloud's API: real HTTP on loopback, with state. It is not Hetzner's; see docs/testing.md."""
