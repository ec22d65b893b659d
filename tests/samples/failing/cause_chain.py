from prefect import flow

SETTINGS = {"host": "localhost"}


@flow
def before():
    """Found before the failure."""


def table():
    try:
        return SETTINGS["table"]
    except KeyError as error:
        failure = RuntimeError("the settings are incomplete")
        failure.add_note("settings are read from SETTINGS")
        raise failure from error


TABLE = table()
