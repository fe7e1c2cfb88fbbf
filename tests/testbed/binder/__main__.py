"""``python -m binderhub --config FILE``."""

from .app import BinderHub

BinderHub.launch_instance()
