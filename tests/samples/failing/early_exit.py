import os

from prefect import flow


@flow
def found():
    pass


os._exit(7)
