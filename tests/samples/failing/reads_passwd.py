from prefect import flow

with open("/etc/passwd") as file:
    USERS = file.read()


@flow
def never_reached():
    pass
