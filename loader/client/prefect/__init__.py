"""The client of a Prefect server, over its REST API."""

from loader.client.prefect.server import PrefectServer

__all__ = ["PrefectServer"]
