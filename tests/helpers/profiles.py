"""ICC profiles of wide colour spaces, made here: three primaries and a gamma."""

import struct
from collections.abc import Sequence


def profile(primaries: Sequence[Sequence[float]], gamma: float) -> bytes:
    """`primaries`: XYZ of red, green and blue, adapted to D50; their sum is its white."""

    def xyz(values: Sequence[float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    red, green, blue = map(xyz, primaries)
    tags = [(b"desc", b"desc\0\0\0\0\0\0\0\2x" + b"\0" * 80), (b"wtpt", xyz((0.9642, 1, 0.8249)))]
    tags += [(b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue), (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)]
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    head = struct.pack(">I", start + len(body)) + b"none" + struct.pack(">I", 0x02100000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += b"".join(struct.pack(">i", round(value * 65536)) for value in (0.9642, 1, 0.8249)) + b"\0" * 48
    return head + struct.pack(">I", len(tags)) + table + body


PROPHOTO = profile([(0.7977, 0.2880, 0), (0.1352, 0.7119, 0), (0.0313, 0.0001, 0.8249)], 1.8)
ADOBE = profile([(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)], 2.2)
P3 = profile([(0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)], 2.2)
WIDE = {"ProPhoto": PROPHOTO, "Adobe RGB": ADOBE, "Display P3": P3}
