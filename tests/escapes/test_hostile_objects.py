"""Objects that lie, raise or never end when they are looked at hurt only their own script's facts."""

import pytest

COSTLY = [pytest.param(how, marks=pytest.mark.slow) for how in ("hangs", "grows")]


def lies_in_a_flow(kit, how):
    """Flows whose names, defaults, annotations and descriptions are traps."""
    import os
    import time

    from prefect import flow

    def act(*arguments, **options):
        if how == "raises":
            raise SystemExit(0)
        if how == "recurses":
            return act()
        if how == "exits":
            os._exit(0)
        if how == "hangs":
            time.sleep(1000)
        if how == "grows":
            return "\x1b[31m" * (1 << 26)
        return {"lies": "forged", "nones": None}.get(how)

    names = (
        "__str__ __repr__ __eq__ __hash__ __bool__ __len__ __iter__ __format__ __reduce_ex__ __dir__ __int__"
    )
    methods = dict.fromkeys(names.split(), act)
    meta = type(
        "Meta", (type,), {**methods, "__instancecheck__": act, "__subclasscheck__": act, "mro": type.mro}
    )
    trap = meta("Trap", (), {**methods, "__class__": property(act), "__getattribute__": act})
    value = object.__new__(trap)

    def trapped(one=value, two: trap = 1, three: value = 2):
        pass

    trapped.__doc__ = None
    trapped.__annotations__["four"] = value
    found = [flow(trapped)]
    for options in ({"name": value}, {"version": value}, {"description": value}, {"tags": [value]}):
        try:
            found.append(flow(**options)(trapped))
        except BaseException as error:
            found.append(error)
    globals().update({f"found{number}": item for number, item in enumerate(found)}, trap=trap, value=value)


@pytest.mark.parametrize("how", ["raises", "recurses", "exits", *COSTLY, "lies", "nones"])
def test_traps_in_flows_stay_in_the_worker(escape, how):
    seen = escape(lies_in_a_flow, how, timeout=3)
    allowed = {"loaded", "script_failed", "crashed", "timed_out", "out_of_memory", "output_exceeded"}
    assert seen.status in allowed
    assert "harmless" in [flow["name"] for flow in seen.outcome["flows"]]
    assert escape.engine().process.poll() is None
    assert len(str(seen.outcome)) < 8 << 20


def raises_a_trap(kit, how):
    """An exception that cannot be printed."""
    import os
    import time

    def act(*arguments):
        if how == "raises":
            raise SystemExit(0)
        if how == "exits":
            os._exit(0)
        if how == "hangs":
            time.sleep(1000)
        return "y" * (1 << 27) if how == "grows" else 7

    class Trap(Exception):
        __str__ = __repr__ = __eq__ = __hash__ = act
        __class__ = property(act)
        __notes__ = property(act)
        __cause__ = property(act)
        __traceback__ = property(act)

    Trap.__module__ = Trap.__qualname__ = "x" * (1 << 20)
    raise Trap


@pytest.mark.parametrize("how", ["raises", "exits", *COSTLY, "lies"])
def test_traps_in_exceptions_stay_in_the_worker(escape, how):
    seen = escape(raises_a_trap, how, timeout=2)
    assert seen.status in {"script_failed", "crashed", "timed_out", "out_of_memory"}
    assert [flow["name"] for flow in seen.outcome["flows"]] == ["harmless"]
    assert len(str(seen.outcome)) < 1 << 20


def raises_a_chain(kit):
    """Causes without end, groups within groups, and notes."""
    import sys

    sys.setrecursionlimit(1 << 20)
    error = ValueError("x" * (1 << 20))
    for number in range(20_000):
        outer = ValueError(number)
        outer.__cause__ = error if number % 2 else ExceptionGroup("g", [error])
        outer.add_note("note " * 1000)
        error = outer
    raise error


def test_a_chain_without_end_is_cut(escape):
    seen = escape(raises_a_chain)
    assert seen.status in {"script_failed", "crashed"}
    assert len(str(seen.outcome)) < 4 << 20


def defines_strange_values(kit):
    """Flows with ordinary objects as defaults."""
    import datetime as dt
    import enum

    from prefect import flow

    colour = enum.Enum("Colour", "RED GREEN")

    def strange(when=dt.datetime(2020, 1, 1), which=colour.RED, items=(1, 2), text=str):  # noqa: DTZ001
        """Has defaults."""

    globals()["strange"] = flow(strange)


def test_ordinary_objects_are_described(escape, profile):
    seen = escape(defines_strange_values, profile=profile)
    assert seen.status == "loaded"
    flow = next(flow for flow in seen.outcome["flows"] if flow["name"] == "strange")
    assert list(flow["parameters"]["properties"]) == ["when", "which", "items", "text"]
