import asyncio

from prefect import flow, get_client
from prefect.blocks.system import Secret
from prefect.variables import Variable

token = Secret.load("api-token")
region = Variable.get("region", default="eu")
Secret(value="x").save("other", overwrite=True)


async def list_flows():
    async with get_client() as client:
        return await client.read_flows()


found = asyncio.run(list_flows())


@flow
def uses(): ...
