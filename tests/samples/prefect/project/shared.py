from prefect import task

PREFIX = "shared"


@task
def announce(text: str): ...
