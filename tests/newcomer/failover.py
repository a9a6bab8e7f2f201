"""An asyncio client that goes on to the next address when the first is dead, and ends at its deadline."""

import asyncio

import safeconnect.asyncio
from safeconnect import testing


async def fetch(address, timeout):
    reader, writer = await safeconnect.asyncio.open_connection(address, timeout=timeout)
    try:
        writer.write(b"ping")
        return await reader.readexactly(4)
    finally:
        writer.close()
        await writer.wait_closed()


with testing.dual_stack() as server:  # one name: ::1 is a black hole, 127.0.0.1 answers
    assert asyncio.run(fetch(server.address, timeout=3)) == b"ping"

notes = []
with testing.dual_stack(v4="blackhole") as server:  # both are dead
    try:
        asyncio.run(fetch(server.address, timeout=0.5))
    except TimeoutError as error:
        notes = error.__notes__
assert len(notes) == 2, "it says what happened at each address"
