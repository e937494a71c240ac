"""bench.py REDIS_URL DIR SECONDS NAME...: measure each name and print one JSON
line for it: nanoseconds per operation, median latency in microseconds.

The value is a map {id, name, body} with 1 KiB of random body; the functions have
the secure preset, with L1 off but in L1Hit. A get is a decorated call that hits.
The decorator has no set of its own: a set is the store path behind it. Names
ending in a number have that many calls at once, at most 16 threads.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cachekit import cache
from cachekit.backends.file import FileBackend, FileBackendConfig
from cachekit.backends.redis import RedisBackend
from cachekit.cache_handler import CacheOperationHandler, CacheSerializationHandler, StandardCacheHandler
from cachekit.config.nested import L1CacheConfig
from cachekit.key_generator import CacheKeyGenerator

MASTER_KEY = "42" * 32
KEYS = 64
ROW = {"id": 1, "name": "user-name-0001", "body": os.urandom(1024)}
clock = time.perf_counter_ns


def sequential(call, budget):
    """One caller, the latency of every call."""
    for i in range(KEYS):
        call(i)
    latencies, start = [], clock()
    while clock() - start < budget:
        t = clock()
        call(len(latencies))
        latencies.append(clock() - t)
    return (clock() - start) / len(latencies), latencies


def tight(call, budget):
    """One caller, no clock read between the calls."""
    n = 1
    while True:
        start = clock()
        for _ in range(n):
            call(0)
        spent = clock() - start
        if spent >= budget:
            return spent / n, []
        n *= 2


def concurrent(call, budget):
    """16 threads at once."""
    counts, start = [0] * 16, clock()

    def worker(w):
        while clock() - start < budget:
            call(w * 7 + counts[w])
            counts[w] += 1

    threads = [threading.Thread(target=worker, args=(w,)) for w in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return (clock() - start) / sum(counts), []


def measure(name, backend, budget):
    runs = []

    @cache.secure(master_key=MASTER_KEY, backend=backend, namespace="bench", l1=L1CacheConfig(enabled=name == "L1Hit"))
    def load(i):
        runs.append(i)
        return ROW

    serializer = CacheSerializationHandler(encryption=True, single_tenant_mode=True, master_key=MASTER_KEY)
    store = CacheOperationHandler(serializer, CacheKeyGenerator(), StandardCacheHandler(backend))

    def put(i):
        if not store.store_result(f"peer:py:{i % KEYS}", ROW, 600).stored:
            raise RuntimeError("a set stored nothing")

    if name in ("RedisSet", "FileSet"):
        return sequential(put, budget)
    if name == "RedisSet16":
        return concurrent(put, budget)
    for i in range(100):
        load(i)
    filled = len(runs)
    if name == "L1Hit":
        figures = tight(load, budget)
    elif name == "RedisGet16":
        figures = concurrent(lambda i: load(i % KEYS), budget)
    elif name == "RedisGet100":
        with ThreadPoolExecutor(16) as pool:
            figures = sequential(lambda _: list(pool.map(load, range(100))), budget)
    elif name in ("RedisGet", "FileGet"):
        figures = sequential(lambda i: load(i % KEYS), budget)
    else:
        raise SystemExit(f"no measurement {name}")
    if len(runs) != filled:
        raise RuntimeError(f"{name}: a get missed")
    return figures


def main():
    redis, directory, seconds, *names = sys.argv[1:]
    for name in names:
        if name.startswith("File"):
            backend = FileBackend(FileBackendConfig(cache_dir=directory))
        else:
            backend = RedisBackend(redis)
        ns, latencies = measure(name, backend, float(seconds) * 1e9)
        p50 = sorted(latencies)[len(latencies) // 2] / 1e3 if latencies else None
        print(json.dumps({"name": name, "ns": ns, "p50_us": p50}), flush=True)


if __name__ == "__main__":
    main()
