"""BinderHub's configuration from the release's values."""

import yaml

with open("/etc/binderhub/config/values.yaml") as file:
    values = yaml.safe_load(file)


def get_value(key, default=None):
    """The value at a dotted key."""
    found = values
    for level in key.split("."):
        if not isinstance(found, dict) or level not in found:
            return default
        found = found[level]
    return found


for section, settings in (values.get("config") or {}).items():
    c[section].update(settings)  # noqa: F821 - traitlets puts it there

for key, snippet in sorted((values.get("extraConfig") or {}).items()):
    print(f"extraConfig {key}")
    exec(snippet)
