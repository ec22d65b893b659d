"""Reads /etc/passwd: what it finds there is the worker's own, and names no user of the host."""

from prefect import flow

with open("/etc/passwd") as file:
    print(file.read(), end="")


@flow
def harmless():
    pass
