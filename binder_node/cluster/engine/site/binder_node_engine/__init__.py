"""A repo2docker engine that builds with a standalone BuildKit through ``buildctl``.

Runs inside the build pod, on whatever Python repo2docker's image has (3.10 or later), with repo2docker's own
libraries and nothing else. repo2docker finds it by the entry point ``buildctl`` of group ``repo2docker.engines``.
"""
