import socket

from prefect import flow

socket.create_connection(("192.0.2.1", 80), timeout=1)


@flow
def never_reached():
    pass
