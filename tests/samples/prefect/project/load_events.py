from jobs.settings import Settings
from prefect import flow
from shared import PREFIX, announce


@flow(name=f"{PREFIX}-load")
def load_events(settings: Settings = Settings()):
    announce(settings.table)
