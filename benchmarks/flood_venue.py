"""A venue that is always ahead: sends quotes as fast as its one client takes them. Blocking, no faults.

    python -m benchmarks.flood_venue SYMBOL,SYMBOL…

The simulated venue drops a client that falls behind, as venues do; this one waits for it, so that
a client's limit can be measured. Prints its address; begins when all symbols are subscribed.
"""

import base64
import contextlib
import hashlib
import json
import socket
import sys

WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
FRAMES_A_BLOCK = 500


def main() -> None:
    symbols = sys.argv[1].split(",")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"listening on ws://127.0.0.1:{listener.getsockname()[1]}/stream", flush=True)
        client = next_client(listener)
        answer_until_subscribed(client, len(symbols))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # the client has seen enough
            flood(client, [symbol.lower() for symbol in symbols])


def next_client(listener: socket.socket) -> socket.socket:
    """Return the first one that opens a web socket; who asks for a list of markets gets none."""
    while True:
        client, _ = listener.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(4096)
        if b"upgrade: websocket" in request.lower():
            shake_hands(client, request)
            return client
        client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        client.close()


def shake_hands(client: socket.socket, request: bytes) -> None:
    headers = dict(line.lower().split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
    key = next(
        line.split(b": ", 1)[1]
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    assert b"upgrade" in headers[b"connection"]
    accept = base64.b64encode(hashlib.sha1(key + WS_GUID).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def answer_until_subscribed(client: socket.socket, count: int) -> None:
    subscribed: set[str] = set()
    while len(subscribed) < count:
        request = json.loads(receive_frame(client))
        subscribed.update(request["params"])
        client.sendall(frame(json.dumps({"result": None, "id": request["id"]}).encode()))


def receive_frame(client: socket.socket) -> bytes:
    """One unfragmented, masked frame of a client, as they all are here."""
    length = receive(client, 2)[1] & 0x7F
    if length == 126:
        length = int.from_bytes(receive(client, 2), "big")
    mask = receive(client, 4)
    return bytes(byte ^ mask[n % 4] for n, byte in enumerate(receive(client, length)))


def receive(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            raise SystemExit("the client left")
        data += piece
    return data


def frame(text: bytes) -> bytes:
    if len(text) < 126:
        return bytes((0x81, len(text))) + text
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


def flood(client: socket.socket, names: list[str]) -> None:
    number = 0
    while True:
        block = []
        for _ in range(FRAMES_A_BLOCK):
            number += 1
            name = names[number % len(names)]
            bid = 1.17190 + number % 997 / 1e5
            block.append(
                frame(
                    b'{"stream":"%s@bookTicker","data":{"u":%d,"s":"%s","b":"%.5f","B":"1000000.0",'
                    b'"a":"%.5f","A":"1000000.0"}}'
                    % (name.encode(), number, name.upper().encode(), bid, bid + 0.00008)
                )
            )
        client.sendall(b"".join(block))


if __name__ == "__main__":
    main()
