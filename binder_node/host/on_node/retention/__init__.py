"""Runs on the node, with Python's standard library only (3.10 or newer): what the registry keeps, by last use.

python3 -m on_node.retention CONFIG note     whom the registry's access log names, into the bucket
python3 -m on_node.retention CONFIG mark     what nobody uses, from the whole bucket; removes nothing
python3 -m on_node.retention CONFIG sweep    removes that, but for what was used or pushed since; while nobody can push
"""
