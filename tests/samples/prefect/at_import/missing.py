from prefect import flow

import surely_not_installed_anywhere as missing


@flow
def never(): ...
