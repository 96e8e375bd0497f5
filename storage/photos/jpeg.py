"""JPEGs that lack their end marker though all their pixels are there, as Samsung's panoramas do."""

import re

import simplejpeg

_END = b"\xff\xd9"
_SCAN, _FRAMES = 0xDA, (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # baseline and progressive, by Huffman's or arithmetic codes
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
# No byte of theirs, nor a restart among them; without the filling before it, of which a search would try every byte.
_BEHIND_PIXELS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length: TEM, restarts, the start
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")  # libjpeg's words
AHEAD = 8  # bytes: so far libjpeg reads ahead of the pixels, and does not count them as extraneous
TRIES = 3  # decodings: what is behind the pixels, then without it, then without what was read ahead
COMPONENTS = 4  # of a scan (ITU T.81, table B.3)
MARKERS = 4096  # of a file; profiles and previews take some hundred
MOST = 1 << 26  # bytes: the largest file that is copied for this; phones' panoramas have up to 60 MB


def with_end(data: bytes, cmyk: bool) -> bytes | None:
    """The file up to the end of its pixels, and the end marker; None where it has one, or lacks more than that.

    libjpeg fills what is missing with grey and warns, so the proof is a decoding without any warning. It knows nothing
    of scans that are missing from a progressive file. EOFError where the last pixels are zeros that a broken download
    left: they decode as well as any.
    """
    end = _end_of_scans(data)
    if end is None or end > MOST or data.startswith(_END, end):
        return None
    for _ in range(TRIES):
        mended = data[:end] + _END
        warning = _warning(mended, cmyk)
        if not warning and not any(data[end - 2 * AHEAD : end - AHEAD]):
            raise EOFError("its last pixels are zeros")
        if not (behind := _EXTRANEOUS.search(warning)):
            return None if warning else mended
        end -= int(behind[1])
    return None


def _warning(data: bytes, cmyk: bool) -> str:
    """The first thing that libjpeg finds wrong, or ""."""
    try:
        simplejpeg.decode_jpeg(data, "CMYK" if cmyk else "GRAY", min_height=1, min_width=1)  # the smallest is enough
    except ValueError as error:
        return str(error) or "wrong"
    return ""


def _end_of_scans(data: bytes) -> int | None:
    """Where the first marker stands behind the scans that have every bit of every coefficient, or the end of the file.

    A scan says which bits it has: coefficients `first` to `last` of its components, down to bit `low` (ITU T.81,
    B.2.3 and G.1.1.1). One that is no part of the photo, in a trailer, comes after all are there.
    """
    missing: set[tuple[int, int]] | None = None  # component, coefficient
    at = 2
    for _ in range(MARKERS):
        marker = _MARKER.match(data, at)
        if not marker:
            return None
        code, at = marker[1][0], marker.end()
        if code in _ALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        content = data[at + 2 : at + length]
        if code == _END[1] or length < 2 or len(content) < length - 2:
            return None
        at += length
        if code in _FRAMES and len(content) >= 6:
            components = content[6::3][: content[5]]
            missing = {(component, k) for component in components for k in range(64)}
        elif code == _SCAN:
            if missing is None or not content or len(content) != 4 + 2 * content[0] or content[0] > COMPONENTS:
                return None
            first, last, low = content[-3], content[-2], content[-1] & 15
            if low == 0:
                missing -= {(component, k) for component in content[1:-3:2] for k in range(first, last + 1)}
            behind = _BEHIND_PIXELS.search(data, at)
            at = behind.start() if behind else len(data)
            if not missing:
                return at
    return None
