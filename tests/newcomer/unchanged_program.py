"""A program that knows nothing of safeconnect. It reads a page and a value, and may start before Redis does."""

import time

import redis
import requests
from redis.backoff import NoBackoff
from redis.retry import Retry

began = time.monotonic()
page = requests.get("http://web:8080/", timeout=3).text
print(page, time.monotonic() - began, flush=True)

cache = redis.Redis("127.0.0.1", 40000, retry=Retry(NoBackoff(), 0))
while True:
    try:
        cache.set("name", "a value")
        print(cache.get("name"), flush=True)
        break
    except redis.ConnectionError as error:
        print("not yet:", error, flush=True)
        time.sleep(0.01)
