"""Three Celery workers lose their broker, a redis-server that is killed, and come back when it is started again.

``python celery_workers.py`` does all this on loopback, and prints what happens. It needs celery, redis-py and
redis-server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fleet_settings
from celery import Celery

import safeconnect
from safeconnect.events import Failed

WORKERS = ("first", "second", "third")
URL = os.environ.get("FLEET_BROKER", "redis://127.0.0.1:6379/0")


def tell(step: object) -> None:
    """Print that an attempt of this process has failed."""
    if isinstance(step, Failed):
        print("refused", file=sys.__stdout__, flush=True)


# Every worker imports this module, and so gets a connector and a budget of its own.
safeconnect.install(connector=fleet_settings.for_celery().replace(trace=tell))

app = Celery("fleet", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_connection_max_retries = None  # go on without a limit; Celery's own limit is 100 connects


@app.task(name="who")
def who() -> int:
    """Say which process does the work."""
    return os.getpid()


def ask(worker: str) -> int:
    """Send a task to the queue that only this worker reads, and wait for its answer."""
    answer: int = who.apply_async(queue=worker).get(timeout=60)
    return answer


@contextmanager
def broker(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A redis-server that keeps nothing, until it is killed or the block ends."""
    settings = ["--bind", "127.0.0.1", "--protected-mode", "no", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(["redis-server", "--port", str(port), *settings], stdout=subprocess.DEVNULL) as server:
        try:
            safeconnect.wait_for_port(("127.0.0.1", port), timeout=30)
            yield server
        finally:
            server.kill()


@contextmanager
def worker(name: str) -> Iterator[subprocess.Popen[str]]:
    """A Celery worker in a process of its own, which reads the queue of its name."""
    options = ["--pool=solo", f"--queues={name}", f"--hostname={name}@fleet", "--loglevel=ERROR"]
    command = [sys.executable, "-m", "celery", "-A", Path(__file__).stem, "worker", *options]
    environment = os.environ | {"FLEET_BROKER": app.conf.broker_url}
    here = Path(__file__).parent
    with subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()  # what it still prints has a reader


def wait_until_refused(process: subprocess.Popen[str]) -> None:
    """Read what a worker prints until it says that it was refused."""
    if process.stdout is None or "refused\n" not in process.stdout:
        raise SystemExit(f"worker {process.pid} has ended")


def main() -> None:
    """Kill the broker, wait until each worker was refused, start the broker again, and ask each worker."""
    # Nobody else is given the port while the broker is down. The workers end before the second broker does.
    with safeconnect.reserve_port("127.0.0.1") as held, ExitStack() as brokers, ExitStack() as stack:
        app.conf.broker_url = app.conf.result_backend = f"redis://127.0.0.1:{held.port}/0"
        with broker(held.port) as server:
            workers = {name: stack.enter_context(worker(name)) for name in WORKERS}
            before = {name: ask(name) for name in WORKERS}
            print("before", before, flush=True)
            server.kill()
            for name, process in workers.items():
                wait_until_refused(process)
                print(name, "refused", flush=True)
        brokers.enter_context(broker(held.port))
        after = {name: ask(name) for name in WORKERS}
        print("after", after, flush=True)
    if before != after:
        raise SystemExit("a worker was started again")


if __name__ == "__main__":
    main()
