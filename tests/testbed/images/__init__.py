"""Container images for the testbed, made without Docker and without an image registry."""
