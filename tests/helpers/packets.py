"""XMP packets to read, and photos that hold them."""

import io
from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from PIL import Image, PngImagePlugin, TiffImagePlugin

NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
}
Drawn = tuple[str, tuple[float, float, float, float]]  # name, and x0, y0, x1, y1 in parts of the picture


def packet(inside: str = "", attributes: str = "") -> bytes:
    """A packet with these properties as elements and as attributes of its one description."""
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {names} {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def bag(name: str, words: Iterable[str], kind: str = "Bag") -> str:
    return f"<{name}><rdf:{kind}>{''.join(f'<rdf:li>{escape(word)}</rdf:li>' for word in words)}</rdf:{kind}></{name}>"


def _struct(name: str, fields: dict[str, object], elements: bool) -> str:
    if elements:
        inside = "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in fields.items())
        return f'<{name} rdf:parseType="Resource">{inside}</{name}>'
    return f"<{name} {' '.join(f'{key}={quoteattr(str(value))}' for key, value in fields.items())}/>"


def mwg(regions: Sequence[Drawn], applied: tuple[float, float] | None = None, elements: bool = False) -> str:
    """MWG-RS, as attributes of a nested description or as elements."""
    items = ""
    for name, (x0, y0, x1, y1) in regions:
        values = {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "w": x1 - x0, "h": y1 - y0, "unit": "normalized"}
        area = _struct("mwg-rs:Area", {f"stArea:{key}": value for key, value in values.items()}, elements)
        said: dict[str, object] = {"mwg-rs:Name": name, "mwg-rs:Type": "Face"}
        if elements:
            fields = "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in said.items())
            items += f'<rdf:li rdf:parseType="Resource">{area}{fields}</rdf:li>'
        else:
            attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in said.items())
            items += f"<rdf:li><rdf:Description {attributes}>{area}</rdf:Description></rdf:li>"
    size = {"stDim:w": applied[0], "stDim:h": applied[1], "stDim:unit": "pixel"} if applied else None
    dimensions = _struct("mwg-rs:AppliedToDimensions", size, elements) if size else ""
    inside = f"{dimensions}<mwg-rs:RegionList><rdf:Bag>{items}</rdf:Bag></mwg-rs:RegionList>"
    return f'<mwg-rs:Regions rdf:parseType="Resource">{inside}</mwg-rs:Regions>'


def mp(regions: Sequence[Drawn], elements: bool = False, kind: str = "Bag") -> str:
    """MP:RegionInfo."""
    items = ""
    for name, (x0, y0, x1, y1) in regions:
        said = {"MPReg:PersonDisplayName": name, "MPReg:Rectangle": f"{x0}, {y0}, {x1 - x0}, {y1 - y0}"}
        items += _struct("rdf:li", dict(said), elements)
    regions_ = f"<MPRI:Regions><rdf:{kind}>{items}</rdf:{kind}></MPRI:Regions>"
    return f'<MP:RegionInfo rdf:parseType="Resource">{regions_}</MP:RegionInfo>'


def image_with(xmp: bytes, format: str = "JPEG", size: tuple[int, int] = (64, 48), orientation: int = 1) -> bytes:
    """A photo of one colour that holds a packet, its `size` as it is stored."""
    exif = Image.Exif()
    exif[0x112] = orientation
    options: dict[str, Any] = {"xmp": xmp}
    if format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"pnginfo": info}
    elif format == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags.tagtype[700] = 1
        tags[700] = xmp
        options = {"tiffinfo": tags}
    file = io.BytesIO()
    Image.new("RGB", size, (90, 120, 60)).save(file, format, exif=exif.tobytes(), **options)
    return file.getvalue()
