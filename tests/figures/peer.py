"""Puts the same load on pgqueuer as load.rs puts on our queue, and prints what it did per second.

Usage: peer.py SOCKET_FOLDER CALLERS,CALLERS,... DRAIN_WORKERS DRAIN_BATCH
"""

import asyncio
import json
import sys
import time
import uuid
from datetime import timedelta

import asyncpg
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries

MEASURED_S = 3.0
DRAINED = 20_000
# The server takes 200.
CONNECTIONS_MAX = 128
ENTRYPOINTS = {"bench": EntrypointExecutionParameter(concurrency_limit=0)}


async def take(queries, manager, batch):
    jobs = await queries.dequeue(
        batch_size=batch,
        entrypoints=ENTRYPOINTS,
        queue_manager_id=manager,
        global_concurrency_limit=None,
        heartbeat_timeout=timedelta(seconds=60),
    )
    if jobs:
        await queries.log_jobs([(job, "successful", None) for job in jobs])
    return len(jobs)


async def rate(queries, callers):
    manager = uuid.uuid4()
    begin = time.monotonic()

    async def call():
        done = 0
        while time.monotonic() - begin < MEASURED_S:
            await queries.enqueue("bench", b'{"number": 1}')
            done += await take(queries, manager, 1)
        return done

    done = sum(await asyncio.gather(*(call() for _ in range(callers))))
    return done / (time.monotonic() - begin)


async def drain(queries, workers, batch):
    await queries.clear_queue()
    for _ in range(DRAINED // 1000):
        await queries.enqueue(["bench"] * 1000, [b'{"number": 1}'] * 1000, [0] * 1000)
    manager = uuid.uuid4()
    begin = time.monotonic()

    async def work():
        done = 0
        while taken := await take(queries, manager, batch):
            done += taken
        return done

    done = sum(await asyncio.gather(*(work() for _ in range(workers))))
    return done / (time.monotonic() - begin)


async def main(socket, callers, workers, batch):
    whole = {}
    for count in callers:
        size = min(count + 1, CONNECTIONS_MAX)
        server = {"host": socket, "user": "wharf", "database": "postgres"}
        async with asyncpg.create_pool(**server, min_size=size, max_size=size) as pool:
            queries = Queries(AsyncpgPoolDriver(pool))
            if not whole:
                await queries.install()
            whole[str(count)] = await rate(queries, count)
            drained = await drain(queries, workers, batch) if count == 10 else None
            if drained:
                result = drained
    print(json.dumps({"whole": whole, "drain": result}))


if __name__ == "__main__":
    SOCKET, CALLERS, WORKERS, BATCH = sys.argv[1:]
    asyncio.run(main(SOCKET, [int(n) for n in CALLERS.split(",")], int(WORKERS), int(BATCH)))
