"""Three Dask workers lose a web server that is killed, and come back when it is started again.

``python dask_workers.py`` does all this on loopback, and prints what happens. It needs distributed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import fleet_settings
from distributed import Client, Event, LocalCluster, Worker, WorkerPlugin

import safeconnect
from safeconnect.events import Failed


class SafeConnects(WorkerPlugin):
    """Every worker that starts, now or later, makes a connector and a budget of its own."""

    name = "safeconnect"

    def setup(self, worker: Worker) -> None:
        """Called by Dask in the worker's process."""
        name = worker.name

        def tell(step: object) -> None:
            if isinstance(step, Failed):
                Event(f"refused {name}").set()

        safeconnect.install(connector=fleet_settings.for_dask().replace(trace=tell))

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when the worker ends."""
        safeconnect.uninstall()


def fetch(url: str) -> tuple[int, int]:
    """Do the work of a task: return the status, and the process that has done it."""
    with urllib.request.urlopen(url, timeout=120) as answer:
        return answer.status, os.getpid()


@contextmanager
def web_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A web server until it is killed or the block ends."""
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            safeconnect.wait_for_port(("127.0.0.1", port), timeout=30)
            yield server
        finally:
            server.kill()


def main() -> None:
    """Kill the server, wait until each worker was refused, start it again; no task is lost."""
    with ExitStack() as stack:
        # Nobody else is given the port while the server is down.
        port = stack.enter_context(safeconnect.reserve_port("127.0.0.1")).port
        cluster = LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        client.register_plugin(SafeConnects())
        names = [worker["id"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]

        def tasks() -> dict[str, object]:
            url = f"http://127.0.0.1:{port}/"
            return {str(name): client.submit(fetch, url, workers=name, pure=False, retries=3) for name in names}

        with web_server(port) as server:
            before = client.gather(tasks())
            print("before", before, flush=True)
            server.kill()
        waiting = tasks()
        for name in names:
            if not Event(f"refused {name}").wait(timeout=60):
                raise SystemExit(f"worker {name} was not refused")
            print(name, "refused", flush=True)
        stack.enter_context(web_server(port))
        after = client.gather(waiting)
        print("after", after, flush=True)
    if before != after:
        raise SystemExit("a worker was started again")


if __name__ == "__main__":
    main()
