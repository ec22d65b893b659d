"""What tests of the daemon's parts share: a warm loader, and a folder of scripts that is old enough."""

import gzip
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loader import FlowLoader
from loader.daemon import freshness
from tests.daemon.running import daemon, gate, place, started  # noqa: F401 - fixtures

FLOW = """
from prefect import flow

@flow(name={name!r})
def first(x: int = 0): ...
"""


def flow(name="first"):
    """A script with one flow of that name."""
    return FLOW.format(name=name)


def settled():
    """Let what was just written be older than what comes now."""
    time.sleep(2.5 * freshness.SLACK / 1e9)


@pytest.fixture(scope="session")
def loader():
    """A warm loader."""
    with FlowLoader() as warm:
        yield warm


@pytest.fixture
def folder(tmp_path):
    """A folder for scripts."""
    made = tmp_path / "flows"
    made.mkdir()
    return made


@pytest.fixture
def write(folder):
    """A callable: write files by their names, and wait until they are old enough."""

    def writing(files):
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        settled()

    return writing


@pytest.fixture
def collector():
    """A collector's URL, and the spans that reached it."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    thread.join()
    server.server_close()
