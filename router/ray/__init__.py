"""A fleet of workers on a Ray cluster. A single worker imports nothing from this package."""
