"""What is sent to a node as text and run by its own python3."""
