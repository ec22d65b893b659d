from prefect import flow
from prefect.blocks.system import Secret

token = Secret.load("api-token")
password = token.get()


@flow
def uses(): ...
