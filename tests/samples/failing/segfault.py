import ctypes

from prefect import flow


@flow
def found():
    pass


def read_nowhere():
    ctypes.string_at(0)


read_nowhere()
