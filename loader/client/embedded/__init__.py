"""The client that needs nothing started: everything lies in one SQLite file."""

from loader.client.embedded.registry import EmbeddedRegistry

__all__ = ["EmbeddedRegistry"]
