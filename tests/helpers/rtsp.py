"""A camera: a small RTSP server (RFC 2326) of one H.264 stream, as RTP (RFC 6184) in the same TCP connection."""

import base64
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

CLOCK = 90_000  # ticks of RTP in a second of video
PIECE = 1400  # bytes of a NAL unit in one packet
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
SDP += "a=fmtp:96 packetization-mode=1\r\na=control:video\r\n"

Script = Callable[[int], Iterable[bytes | float]]  # of the n-th connection: access units, and seconds of silence


def encoded(frames: Sequence[np.ndarray], fps: float = 25, keyframes: int = 12) -> list[bytes]:
    """An access unit for each frame (H, W, 3), as Annex B; each keyframe says the size anew."""
    import av

    codec: Any = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = frames[0].shape[:2]
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, CLOCK), Fraction(fps)
    codec.gop_size, codec.options = keyframes, {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"}
    units = []
    for number, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = round(number * CLOCK / fps), Fraction(1, CLOCK)
        units += map(bytes, codec.encode(frame))
    return units + list(map(bytes, codec.encode(None)))


class Rtsp:
    """Plays `script` to whoever connects, a unit each 1 / `fps` seconds; at its end the connection is cut.

    `password`: asked for by Basic authentication, of the user `door`. `asked`: connections that began to play.
    """

    def __init__(self, script: Script, fps: float = 25, password: str = "") -> None:
        self.script, self.fps, self.password, self.asked = script, fps, password, 0
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"rtsp://{f'door:{password}@' if password else ''}127.0.0.1:{self.port}/video"

    def __enter__(self) -> "Rtsp":
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._accepting.join()

    def _accept(self) -> None:
        threads = []
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._agree(connection):
                    self.asked += 1
                    self._play(connection, self.script(self.asked - 1))
            except OSError:  # whoever looked has left
                pass

    def _agree(self, connection: socket.socket) -> bool:
        """Whether it is to play."""
        file = connection.makefile("rb")
        while request := file.readline().decode():
            headers = {}
            while (line := file.readline().decode().strip()) != "":
                name, _, headers[name.lower()] = line.partition(": ")
            method = request.split()[0]
            sequence = f"CSeq: {headers['cseq']}\r\n"
            wanted = base64.b64encode(f"door:{self.password}".encode()).decode()
            if self.password and method != "OPTIONS" and headers.get("authorization") != f"Basic {wanted}":
                connection.sendall(
                    f'RTSP/1.0 401 Unauthorized\r\n{sequence}WWW-Authenticate: Basic realm="x"\r\n\r\n'.encode()
                )
                continue
            extra, body = "Session: 1\r\n", ""
            if method == "OPTIONS":
                extra = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                extra, body = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n", SDP
            elif method == "SETUP":
                assert re.search(r"RTP/AVP/TCP;.*interleaved=0-1", headers["transport"])
                extra += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            connection.sendall(f"RTSP/1.0 200 OK\r\n{sequence}{extra}\r\n{body}".encode())
            if method == "PLAY":
                return True
        return False

    def _play(self, connection: socket.socket, script: Iterable[bytes | float]) -> None:
        begun, ticks, sequence = time.monotonic(), 0.0, 0
        for unit in script:
            seconds = unit if isinstance(unit, float) else 1 / self.fps
            if isinstance(unit, bytes):
                for payload, last in _packets(unit):
                    header = struct.pack(">BBHII", 0x80, 96 | last << 7, sequence & 0xFFFF, int(ticks * CLOCK), 1)
                    connection.sendall(struct.pack(">cBH", b"$", 0, len(header) + len(payload)) + header + payload)
                    sequence += 1
            ticks += seconds
            if self._over.wait(max(0.0, begun + ticks - time.monotonic())):
                return


def _packets(unit: bytes) -> Iterator[tuple[bytes, bool]]:
    """Payloads of RTP, and whether each is the last of the access unit: whole NAL units, or pieces of one (FU-A)."""
    nals = [nal for nal in re.split(rb"\x00\x00\x00?\x01", unit) if nal]
    for i, nal in enumerate(nals):
        if len(nal) <= PIECE:
            yield nal, i == len(nals) - 1
            continue
        starts = range(1, len(nal), PIECE)
        for start in starts:
            first, last = start == 1, start == starts[-1]
            head = bytes([nal[0] & 0xE0 | 28, first << 7 | last << 6 | nal[0] & 0x1F])
            yield head + nal[start : start + PIECE], last and i == len(nals) - 1
