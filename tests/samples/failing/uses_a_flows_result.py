from prefect import flow


@flow
def numbers():
    return [1, 2, 3]


FIRST = numbers()[0]
