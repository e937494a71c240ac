"""The tagged JSON in which the tests write arguments and values.

Plain JSON stands for itself; what JSON lacks is an object with one "$" key:
$bytes (hex), $float, $int, $uuid, $micros (a time since the epoch), $datetime, $date, $time (ISO 8601), $set and
$map (a list of pairs, for a map whose own keys begin with "$").
"""

from datetime import date, datetime, time, timedelta, timezone
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def decode(v):
    if isinstance(v, list):
        return [decode(e) for e in v]
    if not isinstance(v, dict):
        return v
    if len(v) == 1 and next(iter(v)).startswith("$"):
        ((tag, body),) = v.items()
        return _DECODERS[tag](body)
    return {k: decode(e) for k, e in v.items()}


_DECODERS = {
    "$bytes": bytes.fromhex,
    "$float": float,
    "$int": int,
    "$uuid": UUID,
    "$micros": lambda n: EPOCH + timedelta(microseconds=int(n)),
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$set": lambda items: frozenset(decode(e) for e in items),
    "$map": lambda pairs: {k: decode(e) for k, e in pairs},
}


def encode(v):
    if v is None or isinstance(v, (bool, int, str)):
        return v
    if isinstance(v, float):
        return {"$float": repr(v)}
    if isinstance(v, (bytes, bytearray)):
        return {"$bytes": bytes(v).hex()}
    if isinstance(v, datetime):  # before date, its base class
        return {"$datetime": v.isoformat()}
    if isinstance(v, date):
        return {"$date": v.isoformat()}
    if isinstance(v, time):
        return {"$time": v.isoformat()}
    if isinstance(v, (list, tuple)):
        return [encode(e) for e in v]
    if isinstance(v, dict):
        if any(k.startswith("$") for k in v):
            return {"$map": [[k, encode(e)] for k, e in v.items()]}
        return {k: encode(e) for k, e in v.items()}
    raise TypeError(f"no tag for {type(v).__name__}")
