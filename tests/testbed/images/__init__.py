"""Container images for the testbed, made without Docker and without an image registry; see ``python -m tests.testbed.images``."""
