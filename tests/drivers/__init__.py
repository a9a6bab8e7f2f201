"""The same connect, whoever waits: blocking, asyncio, uvloop, trio, anyio."""
