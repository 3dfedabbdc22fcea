"""A run's network as a file that other programs run: `python -m pipeline.export`."""
