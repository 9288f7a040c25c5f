"""The catalogue's families of networks, one a file."""
