from datetime import timedelta

from prefect import flow, serve


@flow
def slow(seconds: int = 60): ...


@flow
def fast(): ...


fast.serve(name="fast-served", cron="0 6 * * 1-5", tags=["daily"], parameters={})
serve(
    slow.to_deployment(name="slow-hourly", interval=timedelta(hours=1), parameters={"seconds": 5}),
    fast.to_deployment(name="fast-rule", rrule="FREQ=DAILY;INTERVAL=2"),
)
