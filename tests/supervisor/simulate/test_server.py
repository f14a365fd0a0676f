import argparse
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    wrap_client_stream,
)

from domain.errors import ConfigError
from domain.market import PriceUpdate
from supervisor.simulate import command
from supervisor.simulate import socket as served_socket
from supervisor.simulate.options import SimulateOptions
from supervisor.simulate.service import serve
from venues.binance import BinanceAdapter
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from venues.simulated.faults import Fault, Kind, parse_fault

ROOT = Path(__file__).parents[3]
GUARD_S = 30.0  # only against hanging

MARKETS = ("EURUSD", "USDJPY", "GBPUSD")


@attrs.frozen
class Simulator:
    port: int
    nursery: trio.Nursery


@asynccontextmanager
async def served(**options: object) -> AsyncIterator[Simulator]:
    """Run a simulator for the block."""
    given = SimulateOptions(**{"markets": MARKETS, "rate": 50.0, **options})  # type: ignore[arg-type]
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as clients, trio.open_nursery() as nursery:
            yield Simulator(await nursery.start(serve, given), clients)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(simulator: Simulator, target: str = "/stream") -> AsyncIterator[WebSocketConnection]:
    """Connect a client; on a stream of our own, since the library leaves refused ones open."""
    async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
        with trio.fail_after(2.0):
            ws = await wrap_client_stream(simulator.nursery, stream, "127.0.0.1", target)
        try:
            yield ws
        finally:
            with trio.move_on_after(0.5):
                await ws.aclose()


UPGRADE = (
    b"GET /stream?streams=eurusd@aggTrade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


async def answer_to(opening: bytes, simulator: Simulator) -> bytes:
    """Send this and return what comes until the server closes."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
        await stream.send_all(opening)
        async for data in stream:
            answer += data
    return answer


def request(method: str, *streams: str, number: int = 1) -> str:
    return json.dumps({"method": method, "params": streams, "id": number})


async def subscribe(ws: WebSocketConnection, *streams: str) -> None:
    """Subscribe, and wait for the confirmation."""
    await ws.send_message(request("SUBSCRIBE", *streams))
    while json.loads(await ws.get_message()) != {"result": None, "id": 1}:
        pass


async def streams_of(ws: WebSocketConnection, *, count: int) -> set[str]:
    return {json.loads(await ws.get_message())["stream"] for _ in range(count)}


async def is_quiet(ws: WebSocketConnection, *, for_s: float) -> bool:
    with trio.move_on_after(for_s):
        await ws.get_message()
        return False
    return True


def fault(text: str) -> tuple[Fault, ...]:
    return (parse_fault(text),)


def ledger_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- ticks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["trades", "quotes"])
async def test_the_ledger_holds_exactly_what_the_client_decodes(tmp_path: Path, source: str) -> None:
    ledger = tmp_path / "ledger.jsonl"
    settings = VenueSettings(protocol="binance", source=source)
    adapter = BinanceAdapter(SessionContext(settings=settings))
    updates: list[PriceUpdate] = []

    async def read_all(ws: WebSocketConnection) -> None:
        while True:
            events = adapter.receive(await ws.get_message())
            updates.extend(event for event in events if isinstance(event, PriceUpdate))

    async with (
        served(ledger=ledger, rate=100.0, faults=fault("silent@0.3")) as simulator,
        connected(simulator) as ws,
    ):
        (frame,) = adapter.subscribe(MARKETS)
        await ws.send_message(frame)
        with trio.move_on_after(0.8):
            await read_all(ws)
    lines = ledger_lines(ledger)
    assert [(line["symbol"], line["ts_us"], line["seq"], line["price"]) for line in lines] == [
        update[:4] for update in updates
    ]
    assert {line["symbol"] for line in lines} == set(MARKETS)
    assert all(isinstance(line["sent_us"], int) for line in lines)


async def test_only_subscribed_streams_are_sent() -> None:
    async with served() as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@bookTicker")
        assert await streams_of(ws, count=10) == {"eurusd@bookTicker"}


async def test_streams_in_the_address_are_subscribed() -> None:
    async with served() as simulator, connected(simulator, "/stream?streams=usdjpy@aggTrade") as ws:
        assert await streams_of(ws, count=3) == {"usdjpy@aggTrade"}


async def test_the_raw_path_sends_bare_payloads() -> None:
    async with served() as simulator, connected(simulator, "/ws/usdjpy@aggTrade") as ws:
        assert json.loads(await ws.get_message())["e"] == "aggTrade"


async def test_prices_are_the_same_for_the_same_seed() -> None:
    seen = []
    for _ in range(2):
        async with served(seed=5) as simulator, connected(simulator) as ws:
            await subscribe(ws, "eurusd@aggTrade")
            seen.append([json.loads(await ws.get_message())["data"]["p"] for _ in range(10)])
    assert seen[0] == seen[1]


async def test_prices_come_from_the_file(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text("timestamp,bid,ask\n1,1.5,1.6\n2,1.7,1.8\n")
    async with served(prices=prices) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@bookTicker")
        data = [json.loads(await ws.get_message())["data"] for _ in range(3)]
    assert [(quote["b"], quote["a"]) for quote in data] == [("1.5", "1.6"), ("1.7", "1.8"), ("1.5", "1.6")]


async def test_pings_are_answered() -> None:
    async with served() as simulator, connected(simulator) as ws:
        await ws.ping(b"are you there")


async def test_too_many_frames_in_a_second_end_the_connection() -> None:
    async with served() as simulator, connected(simulator) as ws:
        with pytest.raises(ConnectionClosed) as error:  # noqa: PT012
            for number in range(6):
                await ws.send_message(request("LIST_SUBSCRIPTIONS", number=number))
            while True:
                await ws.get_message()
        assert error.value.reason.code == 1008


async def test_an_unserved_path_is_answered_404() -> None:
    async with served() as simulator:
        assert (await answer_to(UPGRADE.replace(b"/stream", b"/nothing"), simulator)).startswith(
            b"HTTP/1.1 404"
        )


@pytest.mark.parametrize(
    "opening", [b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00", b"", b"GET " + b"x" * 100_000]
)
async def test_a_client_that_speaks_nonsense_harms_nobody(opening: bytes) -> None:
    async with served() as simulator:
        stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        async with stream, connected(simulator) as ws:
            await stream.send_all(opening)
            await subscribe(ws, "eurusd@aggTrade")
            await streams_of(ws, count=3)


async def deaf_client(port: int) -> trio.SocketStream:
    """Connect, subscribe and never read."""
    raw = trio.socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await raw.connect(("127.0.0.1", port))
    stream = trio.SocketStream(raw)
    await stream.send_all(UPGRADE)
    return stream


async def test_a_client_that_does_not_read_stalls_nobody_and_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(served_socket, "SEND_DEADLINE_S", 0.2)
    async with served(rate=20_000.0, markets=("EURUSD",)) as simulator:
        deaf = await deaf_client(simulator.port)
        async with deaf, connected(simulator) as ws:
            await subscribe(ws, "eurusd@aggTrade")
            while deaf.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != errno.ECONNRESET:
                await streams_of(ws, count=100)  # the other one is served until then, and after
            await streams_of(ws, count=100)


# --- faults -----------------------------------------------------------------------------------


async def test_close_sends_a_close_frame() -> None:
    async with served(faults=fault("close@0.1")) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade")
        with pytest.raises(ConnectionClosed) as error:
            await streams_of(ws, count=10_000)
        assert error.value.reason.code in (1001, 1012)


async def test_reset_ends_tcp_without_a_close_frame() -> None:
    async with served(faults=fault("reset@0.1")) as simulator:
        stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        async with stream:
            await stream.send_all(UPGRADE)
            with pytest.raises(trio.BrokenResourceError) as error:  # noqa: PT012
                while await stream.receive_some():
                    pass
            assert isinstance(error.value.__cause__, ConnectionResetError)


async def test_a_fault_of_one_symbol_spares_sockets_without_it() -> None:
    async with served(faults=fault("reset@0.1:EURUSD")) as simulator, connected(simulator) as other:
        await subscribe(other, "usdjpy@aggTrade")
        async with connected(simulator) as concerned:
            await subscribe(concerned, "eurusd@aggTrade")
            with pytest.raises(ConnectionClosed):
                await streams_of(concerned, count=10_000)
        await streams_of(other, count=20)


async def test_silence_sends_nothing_but_pongs() -> None:
    async with served(faults=fault("silent@0.1+0.5")) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade")
        while not await is_quiet(ws, for_s=0.2):
            pass
        await ws.ping()
        await streams_of(ws, count=5)


async def test_silence_of_one_symbol_leaves_the_others() -> None:
    async with served(faults=fault("silent@0:EURUSD")) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade", "usdjpy@aggTrade")
        assert await streams_of(ws, count=20) == {"usdjpy@aggTrade"}


async def test_a_locked_market_confirms_subscribes_and_has_no_ticks() -> None:
    async with served(faults=fault("lock@0")) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade")
        await subscribe(ws, "usdjpy@aggTrade")
        assert await is_quiet(ws, for_s=0.2)


async def test_a_slow_market_ticks_once_a_second() -> None:
    async with served(faults=fault("slow@0:EURUSD")) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade", "usdjpy@aggTrade")
        streams = [json.loads(await ws.get_message())["stream"] for _ in range(60)]
        assert 1 <= streams.count("eurusd@aggTrade") <= 3


async def test_a_half_open_socket_answers_nothing_and_stays_open() -> None:
    async with served(faults=fault("half-open@0.1")) as simulator:
        stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        async with stream:
            await stream.send_all(UPGRADE)
            while True:
                with trio.move_on_after(0.3) as silence:
                    assert await stream.receive_some() != b""
                if silence.cancelled_caught:
                    break
            await stream.send_all(b"\x89\x80\x00\x00\x00\x00")  # a ping
            with trio.move_on_after(0.2) as silence:
                await stream.receive_some()
            assert silence.cancelled_caught
        async with connected(simulator) as later:  # a new connection is served
            await subscribe(later, "eurusd@aggTrade")
            await streams_of(later, count=3)


async def test_a_half_open_socket_comes_back_after_its_time() -> None:
    async with served(faults=fault("half-open@0.1+0.3")) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade")
        while not await is_quiet(ws, for_s=0.15):
            pass
        await streams_of(ws, count=5)


async def test_garbage_sends_three_undecodable_frames_and_goes_on() -> None:
    async with served(faults=fault("garbage@0.1")) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade")
        frames = [await ws.get_message() for _ in range(30)]
    (root,) = (frame for frame in frames if frame == "[1,2,3]")
    assert not frames[frames.index(root) - 1].endswith("}}")
    assert "not a price" in frames[frames.index(root) + 1]
    assert len([frame for frame in frames if '"s":"EURUSD"' in frame]) == 27


async def test_garbage_for_a_time_spoils_every_data_frame(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with served(faults=fault("garbage@0+60"), ledger=ledger) as simulator, connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade")
        frames = [await ws.get_message() for _ in range(10)]
    assert not any('"s":"EURUSD"' in frame for frame in frames)
    assert ledger_lines(ledger) == []


async def outlast(simulator: Simulator) -> None:
    """Subscribe, and stay until the connection ends."""
    async with connected(simulator) as ws:
        await subscribe(ws, "eurusd@aggTrade")
        with pytest.raises(ConnectionClosed):
            await streams_of(ws, count=100_000)


async def reconnect(simulator: Simulator) -> None:
    """Try until the upgrade is accepted."""
    answer = b""
    while not answer.startswith(b"HTTP/1.1 101"):
        with suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
                await stream.send_all(UPGRADE)
                answer = bytes(await stream.receive_some())
        await trio.lowlevel.checkpoint()


async def test_refuse_resets_everybody_and_closes_the_port_for_its_time() -> None:
    async with served(faults=fault("refuse@0.1+0.3")) as simulator:
        await outlast(simulator)
        with pytest.raises(OSError, match=r"."):  # refused
            await trio.open_tcp_stream("127.0.0.1", simulator.port)
        await reconnect(simulator)


async def test_http429_asks_for_patience_for_its_time() -> None:
    async with served(faults=fault("http429@0.1+0.3")) as simulator:
        await outlast(simulator)
        head = await answer_to(UPGRADE, simulator)
        assert head.startswith(b"HTTP/1.1 429")
        assert b"\r\nretry-after: 2\r\n" in head.lower()
        await reconnect(simulator)


async def test_no_upgrade_accepts_and_never_answers_for_its_time() -> None:
    async with served(faults=fault("no-upgrade@0.1+0.5")) as simulator:
        await outlast(simulator)
        async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
            await stream.send_all(UPGRADE)
            with trio.move_on_after(0.2) as silence:
                await stream.receive_some()
            assert silence.cancelled_caught
        await reconnect(simulator)


# --- replay -----------------------------------------------------------------------------------


def record(path: Path, *frames: tuple[int, str, str]) -> Path:
    lines = (json.dumps({"at_us": at_us, "dir": way, "frame": text}) for at_us, way, text in frames)
    path.write_text("".join(line + "\n" for line in lines))
    return path


QUOTE = '{"stream":"nknusdt@bookTicker","data":{"u":%d,"s":"NKNUSDT","b":"0.35","B":"1","a":"0.36","A":"2"}}'
DEPTH = '{"stream":"nknusdt@depth@100ms","data":{"e":"depthUpdate"}}'


async def test_a_recording_is_played_once_and_verbatim(tmp_path: Path) -> None:
    recording = record(
        tmp_path / "frames.jsonl",
        (1_000_000, "out", "never played"),
        (2_000_000, "in", QUOTE % 1),
        (3_000_000, "in", DEPTH),
        (4_000_000, "in", " not json "),
        (5_000_000, "in", QUOTE % 2),
    )
    ledger = tmp_path / "ledger.jsonl"
    async with served(replay=recording, speed=50.0, ledger=ledger) as simulator, connected(simulator) as ws:
        await subscribe(ws, "nknusdt@bookTicker")
        frames = [await ws.get_message() for _ in range(4)]
        assert frames == [QUOTE % 1, DEPTH, " not json ", QUOTE % 2]
        assert await is_quiet(ws, for_s=0.2)
        await ws.ping()  # the connection is kept open
    assert [(line["symbol"], line["ts_us"], line["seq"]) for line in ledger_lines(ledger)] == [
        ("NKNUSDT", None, 1),
        ("NKNUSDT", None, 2),
    ]


async def test_a_replay_enters_only_subscribed_ticks_in_the_ledger(tmp_path: Path) -> None:
    recording = record(tmp_path / "frames.jsonl", (1, "in", QUOTE % 1))
    ledger = tmp_path / "ledger.jsonl"
    async with served(replay=recording, ledger=ledger) as simulator, connected(simulator) as ws:
        await subscribe(ws, "nknusdt@aggTrade")
        assert await ws.get_message() == QUOTE % 1
    assert ledger_lines(ledger) == []


async def test_a_long_replay_at_once_arrives_whole(tmp_path: Path) -> None:
    recording = record(tmp_path / "frames.jsonl", *((1, "in", QUOTE % number) for number in range(3_000)))
    ledger = tmp_path / "ledger.jsonl"
    async with served(replay=recording, ledger=ledger) as simulator, connected(simulator) as ws:
        await subscribe(ws, "nknusdt@bookTicker")
        assert [await ws.get_message() for _ in range(3_000)] == [QUOTE % number for number in range(3_000)]
    assert [line["seq"] for line in ledger_lines(ledger)] == list(range(3_000))


async def test_a_replay_waits_for_a_client_that_asks_for_lists_before_it_subscribes(tmp_path: Path) -> None:
    recording = record(tmp_path / "frames.jsonl", (1, "in", QUOTE % 1))
    async with served(replay=recording) as simulator, connected(simulator) as ws:
        assert await is_quiet(ws, for_s=1.4)
        await subscribe(ws, "nknusdt@bookTicker")
        assert await ws.get_message() == QUOTE % 1


async def test_a_replay_begins_after_the_latest_subscribe(tmp_path: Path) -> None:
    recording = record(tmp_path / "frames.jsonl", (1, "in", QUOTE % 1))
    async with served(replay=recording) as simulator, connected(simulator) as ws:
        await subscribe(ws, "nknusdt@bookTicker")
        await trio.sleep(0.6)
        await ws.send_message(request("SUBSCRIBE", "ethbtc@aggTrade", number=2))
        subscribed_at = trio.current_time()
        assert json.loads(await ws.get_message())["id"] == 2
        assert await ws.get_message() == QUOTE % 1
        assert trio.current_time() - subscribed_at > 0.9


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda _: {"protocol": "nasdaq"}, "'nasdaq' is not served; served: olymptrade"),
        (lambda _: {"faults": fault("silent@1:NOSUCH")}, "no market 'NOSUCH'"),
        (lambda path: {"prices": path / "none.csv"}, "none.csv: cannot be read"),
        (lambda path: {"replay": path / "none.jsonl"}, "none.jsonl: cannot be read"),
    ],
)
async def test_what_cannot_be_served_is_told_before_listening(
    tmp_path: Path, make: Callable[[Path], dict[str, object]], complaint: str
) -> None:
    options = SimulateOptions(**make(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as error:
        await serve(options, task_status=trio.TASK_STATUS_IGNORED)
    assert complaint in str(error.value)


# --- the process ------------------------------------------------------------------------------

PROGRAM = """
import argparse, sys
from supervisor.simulate import command
parser = argparse.ArgumentParser()
command.add_arguments(parser)
sys.exit(command.run(parser.parse_args()))
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "--protocol", "binance", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_with_the_ledger_complete(
    tmp_path: Path, end: signal.Signals
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    seen: list[int] = []
    with start("--listen", "127.0.0.1:0", "--rate", "200", "--ledger", str(ledger)) as process:
        assert process.stdout is not None
        with trio.fail_after(GUARD_S):
            line = await trio.to_thread.run_sync(process.stdout.readline)
            assert line.startswith("listening on ws://127.0.0.1:")
            port = int(line.rpartition(":")[2].removesuffix("/stream\n"))
            async with trio.open_nursery() as nursery, connected(Simulator(port, nursery)) as ws:
                await subscribe(ws, "eurusd@aggTrade")
                with pytest.raises(ConnectionClosed):  # noqa: PT012
                    while True:
                        seen.append(json.loads(await ws.get_message())["data"]["a"])
                        if len(seen) == 50:
                            process.send_signal(end)
            assert await trio.to_thread.run_sync(process.wait) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert [entry["seq"] for entry in ledger_lines(ledger)] == seen


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--listen", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--fault", "flood@1"], "kind 'flood' is not known"),
        (["--listen", "127.0.0.1:0", "--rate", "0"], "'0' is not a number above 0"),
        (["--listen", "127.0.0.1:0", "--markets", "A,A"], "A stands twice"),
        (["--listen", "127.0.0.1:0", "--markets", "A,"], "'' in 'A,' is not a symbol"),
        (["--listen", "127.0.0.1:0", "--protocol", "nasdaq"], "invalid choice: 'nasdaq'"),
        (["--listen", "127.0.0.1:0", "--prices", "/none.csv"], "/none.csv: cannot be read"),
        (["--listen", "127.0.0.1:0", "--prices", "a", "--replay", "b"], "not allowed with"),
        (["--protocol", "binance"], "--listen"),
    ],
)
def test_wrong_usage_exits_2_and_says_why(arguments: list[str], complaint: str) -> None:
    process = start(*arguments)
    _, complaints = process.communicate(timeout=GUARD_S)
    assert complaint in complaints
    assert process.returncode == 2


def test_an_address_in_use_exits_1_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        _, complaints = process.communicate(timeout=GUARD_S)
    assert "in use" in complaints
    assert "Traceback" not in complaints
    assert process.returncode == 1


def test_help_names_every_flag_and_fault(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    words = capsys.readouterr().out
    flags = ("protocol", "listen", "markets", "rate", "seed", "prices", "replay", "speed", "ledger", "fault")
    assert [flag for flag in flags if f"--{flag}" not in words] == []
    assert [kind for kind in Kind if kind not in words] == []
