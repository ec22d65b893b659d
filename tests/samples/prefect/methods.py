from prefect import Flow, flow


def work(count: int = 1):
    """A plain function."""


built = Flow(work, name="built")


class Jobs:
    @flow
    def daily(self, day: str): ...

    class Inner:
        @flow
        def hourly(self): ...


def make(name):
    @flow(name=name)
    def generated(x: int = 0): ...

    return generated


first, second = make("first"), make("second")


def done(flow, flow_run, state): ...


@flow(on_completion=[done], on_failure=[done], persist_result=True)
def hooked():
    yield 1
