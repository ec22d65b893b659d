import surely_not_installed_anywhere
from prefect import flow


@flow
def fine():
    surely_not_installed_anywhere.run()
