"""Carries a WireGuard program's datagrams over a WebSocket, as the official client does.

Usage: over_websocket.py GATEWAY PORT LOCAL_PORT. The program's peer is 127.0.0.1:LOCAL_PORT. Ends with its parent's
standard input, and with a message at everything the official client takes for an error.
"""

import base64, os, select, socket, ssl, struct, sys, time

gateway, port, local_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
stream = context.wrap_socket(socket.create_connection((gateway, port)))
key = base64.b64encode(os.urandom(16)).decode()
stream.sendall(
    f"GET / HTTP/1.1\r\nHost: {gateway}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {key}\r\nOrigin: wss://{gateway}:{port}/\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
)
answer = b""
while b"\r\n\r\n" not in answer:
    answer += stream.recv(1)
assert answer.startswith(b"HTTP/1.1 101 "), answer


def send(payload):
    """One text message, masked."""
    mask = os.urandom(4)
    length = len(payload)
    head = bytes([0x81]) + (bytes([0x80 | length]) if length < 126 else bytes([0xFE]) + struct.pack(">H", length))
    stream.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))


local = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
local.bind(("127.0.0.1", local_port))
send(struct.pack(">I", 0x2FACED77))
program, frames, tunnel, spoken = None, b"", b"", time.monotonic()
while True:
    pending = stream.pending()
    ready, _, _ = select.select([stream, local, sys.stdin], [], [], 0 if pending else 0.5)
    if sys.stdin in ready:
        sys.exit(0)
    if local in ready:
        datagram, program = local.recvfrom(65535)
        send(struct.pack(">I", len(datagram)) + datagram)
        spoken = time.monotonic()
    elif time.monotonic() - spoken > 1:
        send(struct.pack(">I", 0))
        spoken = time.monotonic()
    if stream in ready or pending:
        piece = stream.recv(65536)
        assert piece, "the gateway ended the connection"
        frames += piece
    while len(frames) >= 2:
        kind, length, start = frames[0], frames[1], 2
        assert kind == 0x81, f"a frame that is no text: {kind:#x}"
        assert not length & 0x80, "a masked frame from the gateway"
        if length == 126:
            start = 4
            if len(frames) < start:
                break
            length = struct.unpack(">H", frames[2:4])[0]
        elif length == 127:
            start = 10
            if len(frames) < start:
                break
            length = struct.unpack(">Q", frames[2:10])[0]
        if len(frames) < start + length:
            break
        tunnel += frames[start : start + length]
        frames = frames[start + length :]
    while len(tunnel) >= 4:
        length = struct.unpack(">I", tunnel[:4])[0]
        if len(tunnel) < 4 + length:
            break
        assert program is not None, "a datagram before the first of ours"
        local.sendto(tunnel[4 : 4 + length], program)
        tunnel = tunnel[4 + length :]
