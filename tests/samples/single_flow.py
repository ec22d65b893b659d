"""One flow with one task, as most scripts begin."""

from prefect import flow, task


@task
def greeting(name):
    return f"Hello {name}!"


@flow
def hello(name: str = "world"):
    """Greet someone by name."""
    return greeting(name)


if __name__ == "__main__":
    hello()
