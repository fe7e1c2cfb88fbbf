"""Not a part of binder-node at run time: this folder is copied to nodes and put on a build pod's PYTHONPATH."""
