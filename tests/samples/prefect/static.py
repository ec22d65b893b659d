from prefect import flow


class Jobs:
    @flow(name="weekly-job")
    @staticmethod
    def weekly(week: int = 1): ...

    @flow
    @classmethod
    def yearly(cls, year: int): ...
