"""A STAND-IN for BinderHub's small service, for the testbed only. It is not BinderHub.

BinderHub is published on no package registry, so a machine that reaches registries only cannot run it. This package
keeps its outward contract: the HTTP API (build event stream, ``/health`` with its quota rule, ``/versions``), the
configuration classes and their traits, and the module path and methods of the build executor, because the product
subclasses it. What lies behind is real: the build pods, the registry, JupyterHub and the spawned servers. In the
image it is importable as ``binderhub``. What it leaves out: accounts, repository providers other than
``git`` and ``gh``, the launch page's user interface, build logs in other places, event schemas.
"""

__version__ = "1.0.0-0.testbed"
