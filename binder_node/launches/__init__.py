"""The log of launches in numbers, and as a picture."""
