"""A supervisor in a process of its own: serves loads by the real engine, one JSON object a line.

A request is ``{"id", "profile", "location" | "text", "timeout"}``, its answer ``{"id", "outcome"}`` or
``{"id", "raised"}``. Loads run side by side, each in a thread.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from loader import FlowLoader

loaders: dict[str, FlowLoader] = {}
opening = threading.Lock()
answering = threading.Lock()


def loader(profile: str) -> FlowLoader:
    """The warm loader of one profile."""
    with opening:
        if profile not in loaders:
            loaders[profile] = FlowLoader(profile=profile).warm()
        return loaders[profile]


def serve(request: dict[str, object]) -> None:
    """One load."""
    answer = {"id": request["id"]}
    try:
        chosen = loader(str(request["profile"]))
        outcome = chosen.load(str(request["location"]), timeout=request["timeout"])
        answer["outcome"] = outcome.model_dump(mode="json")
    except BaseException as error:
        answer["raised"] = f"{type(error).__name__}: {error}"
    with answering:
        print(json.dumps(answer), flush=True)


with ThreadPoolExecutor(8) as executor:
    for line in sys.stdin:
        executor.submit(serve, json.loads(line))
for held in loaders.values():
    held.close()
