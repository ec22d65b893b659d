from prefect import flow

with open("/etc/shadow") as file:
    SECRETS = file.read()


@flow
def never_reached():
    pass
