"""Storage blocks as places to write to and read from."""

from loader.stores.blocks import store_of
from loader.stores.store import Store

__all__ = ["Store", "store_of"]
