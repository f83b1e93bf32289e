"""Training: losses, settings and the one loop."""
