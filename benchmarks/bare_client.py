"""The yardstick: stock trio-websocket reading the same frames and dropping them. Prints µs and a rate.

python -m benchmarks.bare_client URL SECONDS SYMBOL,SYMBOL…
"""

import json
import sys
import time

import trio
import trio_websocket


async def read(url: str, seconds: float, symbols: list[str]) -> None:
    async with trio_websocket.open_websocket_url(url) as socket:
        streams = [f"{symbol.lower()}@bookTicker" for symbol in symbols]
        await socket.send_message(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
        count = 0
        cpu, wall = time.process_time(), time.monotonic()
        with trio.move_on_after(seconds):
            while True:
                await socket.get_message()
                count += 1
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        print(json.dumps({"per_s": count / wall, "cpu_us": cpu / max(1, count) * 1e6}))
        with trio.move_on_after(1):
            await socket.aclose()


if __name__ == "__main__":
    trio.run(read, sys.argv[1], float(sys.argv[2]), sys.argv[3].split(","))
