import asyncio
from typing import List, Optional

from prefect import flow, task


@task
async def fetch(url: str) -> str:
    return url


@flow
async def crawl(urls: List[str], depth: Optional[int] = None):
    """Fetch every page."""
    return await asyncio.gather(*[fetch(url) for url in urls])


@flow
async def parent(urls: List[str] = ["https://example.org"]):
    await crawl(urls)
    await child(urls[0])


@flow
async def child(url: str): ...
