import asyncio

from prefect import flow, get_client
from prefect.blocks.system import Secret
from prefect.concurrency.sync import concurrency
from prefect.variables import Variable

token = Secret.load("api-token")
region = Variable.get("region", default="eu")
Secret(value="x").save("other", overwrite=True)

with concurrency("database", occupy=1):
    pass


async def list_flows():
    async with get_client() as client:
        return await client.read_flows()


found = asyncio.run(list_flows())


@flow
def uses(): ...
