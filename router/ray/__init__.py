"""A fleet of workers on a Ray cluster. Nothing of a single worker imports this room."""
