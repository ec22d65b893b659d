"""A nightly report, as most first flows are written."""

from prefect import flow, task


@task(retries=3, retry_delay_seconds=10)
def extract(day: str) -> list:
    return [day]


@task
def summarize(rows: list) -> int:
    return len(rows)


@flow(name="Nightly Report", retries=2, retry_delay_seconds=30, timeout_seconds=600, log_prints=True)
def nightly_report(day: str, limit: int = 10, dry_run: bool = False):
    """Build the nightly report.

    Args:
        day: the day to report on
        limit: rows at most
    """
    rows = extract(day)
    print(summarize(rows))


@flow(version="7", description="Given, not from the docstring.")
def described():
    """Not this."""


renamed = nightly_report.with_options(name="renamed", retries=0)

if __name__ == "__main__":
    nightly_report("2026-01-01")
