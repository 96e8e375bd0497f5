"""Camera raw as a phone writes it: a DNG of what a sensor with a filter (RGGB) sees of a picture, and its preview."""

import io
import struct

import numpy as np
from PIL import Image

_SHORT, _LONG, _BYTE, _ASCII, _RATIONAL = 3, 4, 1, 2, 5
_FORMS = {_SHORT: "H", _LONG: "I"}


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def dng(picture: Image.Image, orientation: int = 1, preview: Image.Image | None = None) -> bytes:
    """`picture`: as the sensor sees it, before it is turned; `preview`: likewise."""
    rgb = np.asarray(picture.convert("RGB")).astype(np.uint16)
    mosaic = rgb[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]
    sensor = ((mosaic / 255) ** 2.2 * 65535).astype("<u2").tobytes()
    height, width = mosaic.shape
    facts = {
        271: (_ASCII, b"Canon\0"),
        272: (_ASCII, b"Canon EOS 6D\0"),
        274: (_SHORT, [orientation]),
        306: (_ASCII, b"2019:06:06 07:29:51\0"),
        50706: (_BYTE, b"\1\4\0\0"),
        50708: (_ASCII, b"Canon EOS 6D\0"),
        50721: (10, struct.pack("<18i", *(n for each in (1, 0, 0, 0, 1, 0, 0, 0, 1) for n in (each, 1)))),
    }
    full = {
        254: (_LONG, [0]),
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [16]),
        259: (_SHORT, [1]),
        262: (_SHORT, [32803]),
        273: (_LONG, sensor),
        277: (_SHORT, [1]),
        278: (_LONG, [height]),
        279: (_LONG, [len(sensor)]),
        33421: (_SHORT, [2, 2]),
        33422: (_BYTE, b"\0\1\1\2"),
    }
    if preview is None:
        return _tiff(facts | full)
    small = jpeg(preview)
    first = {
        254: (_LONG, [1]),
        256: (_LONG, [preview.width]),
        257: (_LONG, [preview.height]),
        258: (_SHORT, [8, 8, 8]),
        259: (_SHORT, [7]),
        262: (_SHORT, [6]),
        273: (_LONG, small),
        277: (_SHORT, [3]),
        278: (_LONG, [preview.height]),
        279: (_LONG, [len(small)]),
    }
    return _tiff(facts | first, full)


def _tiff(*directories: dict[int, tuple[int, bytes | list[int]]]) -> bytes:
    """The second below the first. Bytes of tag 273 are written, and stand as their place."""
    data, places = bytearray(b"II*\0\0\0\0\0"), list[int]()

    def put(content: bytes) -> int:
        data.extend(b"\0" * (len(data) % 2))
        data.extend(content)
        return len(data) - len(content)

    for directory in reversed(directories):
        entries = dict(directory)
        if places:
            entries[330] = (_LONG, [places[-1]])
        written = b""
        for tag in sorted(entries):
            kind, value = entries[tag]
            if tag == 273 and isinstance(value, bytes):
                value = [put(value)]
            content = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{_FORMS[kind]}", *value)
            count = len(content) // {_ASCII: 1, _BYTE: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, 10: 8}[kind]
            inline = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", put(content))
            written += struct.pack("<HHI", tag, kind, count) + inline
        places.append(put(struct.pack("<H", len(entries)) + written + b"\0\0\0\0"))
    data[4:8] = struct.pack("<I", places[-1])
    return bytes(data)
