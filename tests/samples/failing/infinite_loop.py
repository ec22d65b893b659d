from prefect import flow


@flow
def found():
    pass


def wait_for_ever():
    while True: pass


wait_for_ever()
