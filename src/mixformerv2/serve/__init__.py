"""Pages in the local browser."""
