from prefect import flow


@flow
def found():
    pass


hoard = []
while True:
    hoard.append(bytearray(64 << 20))
