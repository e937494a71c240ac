"""The published Python SDK as a program that the Go tests talk to.

Each line on stdin is a request {"op": name, ...}, each line on stdout its reply:
{"ok": ...}, or {"error": {"type": ..., "text": ...}}. Entries are written and
read through decorated functions, as the SDK's users do; keys of the keyring
come from the environment, as the users' do.
"""

import asyncio
import functools
import inspect
import json
import sys

from cachekit import cache, generate_interop_key
from cachekit.backends.cachekitio import CachekitIOBackend
from cachekit.backends.file import FileBackend, FileBackendConfig
from cachekit.backends.memcached import MemcachedBackend, MemcachedBackendConfig
from cachekit.backends.redis import RedisBackend
from cachekit.config.nested import EncryptionConfig, L1CacheConfig

import tagged


class Missed(Exception):
    """Raised by a decorated function that a read was not meant to reach."""


def decorated(arity, body, **options):
    """A cached function of `arity` positional parameters that runs `body` on a miss."""

    def function(*args):
        return body()

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(f"a{i}", kind) for i in range(arity)])
    if options.pop("encrypted"):
        preset = cache.secure
    else:
        preset = functools.partial(cache.minimal, encryption=EncryptionConfig(enabled=False))
    return preset(l1=L1CacheConfig(enabled=False), **options)(function)


class Peer:
    def __init__(self):
        self.stores = {}
        self.locks = {}
        self.loop = asyncio.new_event_loop()

    def open(self, name, redis=None, file=None, memcached=None, api_key=None, encrypted=True, fail_closed=False):
        if redis:
            backend = RedisBackend(redis)
        elif memcached:
            backend = MemcachedBackend(MemcachedBackendConfig(servers=memcached))
        elif api_key:
            backend = CachekitIOBackend(api_key=api_key)
        else:
            backend = FileBackend(FileBackendConfig(cache_dir=file))
        options = {"backend": backend, "encrypted": encrypted}
        if encrypted:
            options["fail_closed"] = fail_closed
        self.stores[name] = options

    def key(self, namespace, operation, args):
        return generate_interop_key(namespace, operation, tagged.decode(args))

    def _function(self, store, namespace, operation, args, body, **more):
        return decorated(len(args), body, namespace=namespace, interop=operation, **self.stores[store], **more)

    def set(self, store, namespace, operation, args, value, ttl=600):
        runs = []

        def body():
            runs.append(1)
            return tagged.decode(value)

        args = tagged.decode(args)
        function = self._function(store, namespace, operation, args, body, ttl=ttl)
        function.invalidate_cache(*args)
        function(*args)
        if not runs:
            raise AssertionError("the call that should have stored the value was a hit")

    def get(self, store, namespace, operation, args):
        def missed():
            raise Missed

        args = tagged.decode(args)
        try:
            value = self._function(store, namespace, operation, args, missed)(*args)
        except Missed:
            return {"found": False}
        return {"found": True, "value": tagged.encode(value)}

    def delete(self, store, namespace, operation, args):
        args = tagged.decode(args)
        self._function(store, namespace, operation, args, lambda: None).invalidate_cache(*args)

    def auto(self, store, namespace, args, value):
        """Store a value in auto mode: under Python's own key, as Python's own frame."""
        args, value = tagged.decode(args), tagged.decode(value)
        decorated(len(args), lambda: value, namespace=namespace, **self.stores[store])(*args)

    def raw_set(self, store, key, value, ttl=None):
        self.stores[store]["backend"].set(key, bytes.fromhex(value), ttl)

    def raw_get(self, store, key):
        value = self.stores[store]["backend"].get(key)
        return {"found": value is not None, "value": tagged.encode(value)}

    def raw_delete(self, store, key):
        return self.stores[store]["backend"].delete(key)

    def _backend(self, store):
        return self.stores[store]["backend"]

    def exists(self, store, key):
        return self._backend(store).exists(key)

    def ttl(self, store, key):
        return self.loop.run_until_complete(self._backend(store).get_ttl(key))

    def touch(self, store, key, ttl):
        return self.loop.run_until_complete(self._backend(store).refresh_ttl(key, ttl))

    def lock(self, store, key, lease):
        """Take the lock of a key and keep it until unlock."""
        held = self._backend(store).acquire_lock(key, lease)
        if not self.loop.run_until_complete(held.__aenter__()):
            self.loop.run_until_complete(held.__aexit__(None, None, None))
            return False
        self.locks[store, key] = held
        return True

    def unlock(self, store, key):
        held = self.locks.pop((store, key))
        self.loop.run_until_complete(held.__aexit__(None, None, None))

    def health(self, store):
        healthy, details = self._backend(store).health_check()
        return {"healthy": healthy, "type": details["backend_type"]}


def main():
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"ok": getattr(peer, request.pop("op"))(**request)}
        except Exception as e:
            reply = {"error": {"type": type(e).__name__, "text": str(e)}}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
