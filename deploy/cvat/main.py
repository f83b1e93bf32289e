"""What nuclio looks for: see `mixformerv2.integrations.cvat`."""

from mixformerv2.integrations.cvat import handler, init_context

__all__ = ["handler", "init_context"]
