"""binder-node: a mybinder.org federation member on one cheap machine."""

from __future__ import annotations

__version__ = "0.1.0"
