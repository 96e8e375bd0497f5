"""PNGs of which something is broken that is not the picture."""

import zlib
from itertools import pairwise

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST = 1 << 26  # bytes: the largest file that is copied for this
CHUNKS = 1 << 16  # at most: a file of that length has 8,192 of 8 kB
_END = b"\0\0\0\0IEND\xaeB`\x82"


def without_broken_chunks(data: bytes) -> bytes | None:
    """The file without texts and the like whose check sums are wrong, and without what was cut off behind the picture.

    libpng leaves these out as well; for Pillow they are an error of the file. None where nothing is left out, or where
    the header, the palette or pixels are broken: of pixels that are missing the decoder of what is left will tell.
    """
    if not data.startswith(SIGNATURE) or len(data) > MOST:
        return None
    kept = [SIGNATURE]
    starts = _starts(data)
    if len(starts) > CHUNKS:
        return None
    for start, end in pairwise(starts):
        chunk = memoryview(data)[start:end]
        if end > len(data):
            break
        if zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]:
            kept.append(bytes(chunk))
        elif not chunk[4] & 32:  # a capital letter: needed to show the picture
            return None
    mended = b"".join([*kept, _END])
    return None if data.startswith(mended) else mended


def is_cut(data: bytes) -> bool:
    """Whether a part with pixels goes on behind the last byte: Pillow takes whatever stands there for pixels."""
    starts = _starts(data)
    return len(starts) > 1 and starts[-1] > len(data) and data[starts[-2] + 4 : starts[-2] + 8] == b"IDAT"


def _starts(data: bytes) -> list[int]:
    """Where its chunks begin, and where the last one ends, in front of IEND; at most CHUNKS and one."""
    starts = [len(SIGNATURE)]
    while (at := starts[-1]) + 8 <= len(data) and data[at + 4 : at + 8] != b"IEND" and len(starts) <= CHUNKS:
        starts.append(at + 12 + int.from_bytes(data[at : at + 4], "big"))
    return starts
