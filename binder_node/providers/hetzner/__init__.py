"""A server at Hetzner Cloud: what is wanted and what is seen are plain data, one thin module talks to the API."""
