"""Real frames, spoilt as wires and programmers spoil them: for adapters, which must survive any of it."""

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

ODD: list[Any] = [
    None, True, "", "x", -1, 0, 1.5, 2**63, 10**40, 1e300, [], {}, [[]], {"": 0}, "9" * 400, float("nan")
]  # fmt: skip


def spoil(frame: str, random: Random, *, keys: Sequence[str] = ()) -> str | bytes:
    """Change some bytes, cut it off, or replace, drop, add and double things inside.

    `keys` are names that what is added may have.
    """
    way = random.randrange(4)
    if way == 0:
        data = bytearray(frame.encode())
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        return bytes(data)
    if way == 1:
        return frame[: random.randrange(len(frame))]
    value = json.loads(frame)
    for _ in range(random.randint(1, 3)):
        _spoil_value(value, random, keys=keys)
    return json.dumps(value)


def _spoil_value(value: Any, random: Random, *, keys: Sequence[str]) -> None:
    while isinstance(value, dict | list) and value:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and random.random() < 0.75:
            value = inner
            continue
        if random.random() < 0.2:
            del value[key]
        elif isinstance(value, list) and random.random() < 0.3:
            value.append(copy.deepcopy(inner))
        else:
            name = random.choice(keys) if keys and isinstance(value, dict) and random.random() < 0.2 else key
            value[name] = copy.deepcopy(random.choice(ODD))  # or it would hold itself one day
        return
