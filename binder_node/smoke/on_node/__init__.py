"""Programs that run on the node under its own python3 (3.10 or newer, standard library only); sent as text."""
