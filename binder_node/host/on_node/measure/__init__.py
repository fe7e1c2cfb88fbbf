"""What no exporter knows of a node, in Prometheus' text form; and where its pods can be asked.

Put on the node as files, beside `watch`, and run there by its own python3: standard library only, nothing newer than
Python 3.10.
"""
