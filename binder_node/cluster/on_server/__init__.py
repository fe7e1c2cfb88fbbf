"""What runs in users' images: standard library only."""
