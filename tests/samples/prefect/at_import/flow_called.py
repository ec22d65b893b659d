from prefect import flow, task


@task
def add(x: int) -> int:
    return x + 1


@flow
def compute(x: int = 1):
    raise RuntimeError("this ran")


compute(2)
add.submit(1)
add.map([1, 2])
