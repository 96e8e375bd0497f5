"""PNG files whose remarks are damaged: the picture is not."""

import zlib

_MOST = 1000  # chunks that are looked at; real files have a few dozen in front of their pixels


def without_damaged_remarks(data: bytes) -> bytes:
    """`data` without those chunks in front of the pixels whose checksum is wrong and that no picture needs.

    Such as profiles and texts: their names begin with a small letter. Pillow refuses the file for their sake, and
    libpng, and with it every browser, leaves them out.
    """
    kept, at = [data[:8]], 8
    for _ in range(_MOST):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")  # length, name, content, checksum
        chunk = data[at:end]
        if end > len(data) or chunk[4:8] == b"IDAT":
            break
        needed = not chunk[4] & 0x20
        if needed or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big"):
            kept.append(chunk)
        at = end
    return b"".join([*kept, data[at:]])
