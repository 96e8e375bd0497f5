"""What a file is, by the bytes that it begins with, and which suffixes mean what."""

import os
import re
from importlib.util import find_spec
from typing import NamedTuple

from muster.distribution import DISTRIBUTION
from muster.errors import ImageError

_RAW = (
    ".3fr .ari .arw .bay .cr2 .cr3 .crw .dcr .dcs .dng .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw .nef .nrw .orf"
    " .pef .ptx .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
_PICTURES = (
    ".ai .bif .cdr .dds .eps .exr .hdr .icns .ico .j2k .jp2 .jpx .jxr .lsm .ndpi .ovr .pcx .psb .scn .stk"
    " .svg .svs .tga .wdp .xcf"
)
_OTHER_FILES = (
    # of programs, cameras and downloads; .thm: of a video; .part …: not all of it
    ".aae .bak .bup .cos .dop .ini .jpg_original .lnk .lrprev .on1 .orig .pp3 .thm .url .vrd .xmp"
    " .crdownload .download .part .partial .swp .tmp"
    # sound and video
    " .3gp .aac .avi .flac .insv .lrv .m2ts .m4a .m4v .mkv .mov .mp3 .mp4 .mpeg .mpg .mts .ogg .opus .vob .wav .webm"
    " .wmv"
    # documents, tables and archives
    " .7z .bz2 .csv .db .doc .docx .eml .epub .feather .gz .h5 .hdf5 .htm .html .idx .json .jsonl .key .lmdb"
    " .log .mat .md .npy .npz .numbers .odt .pages .pdf .pickle .pkl .ppt .pptx .rar .rst .rtf .sqlite .tar .tex"
    " .tfrecord .tgz .toml .tsv .txt .xls .xlsx .xml .xz .yaml .yml .zip .zst"
    # code and models
    " .bin .c .cc .cpp .css .dll .exe .go .h .ipynb .java .js .onnx .pt .pth .py .pyc .rb .rs .safetensors .sh .so .ts"
)
RAW_SUFFIXES = frozenset(_RAW.split())
BESIDE_RAW = frozenset((".jpg", ".jpeg", ".heic", ".heif", ".hif"))  # that cameras and phones write beside it
# Other files are called so too: volumes, point clouds, packed pages. Those are looked into.
_AMBIGUOUS = frozenset((".raw", ".ptx", ".bay", ".ari", ".fff", ".mos"))

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
LANCE = ".lance"  # a folder, which is one file to us
HEAD = 512  # bytes that tell all that is told here
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter of files above 4 GB
ISO_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # lengths: two letters alone begin many texts


class Format(NamedTuple):
    """A kind of image file. `begins`: how, as a regular expression over its first bytes. `pillow`: its plugins, in the
    order that they are asked in. `package`: what is imported to read it, `install`: by which name, `extra`: of this
    package; "" where it is always there."""

    name: str
    begins: bytes
    suffixes: str
    pillow: tuple[str, ...] = ()
    package: str = ""
    install: str = ""
    extra: str = ""

    def fits(self, head: bytes) -> bool:
        return re.match(self.begins, head, re.DOTALL) is not None

    @property
    def read(self) -> bool:
        """Whether it is read here."""
        return not self.package or find_spec(self.package) is not None


_TIFF = b"|".join(map(re.escape, TIFF))
RAW = Format(  # beside these, what begins as a TIFF; see muster.storage.photos.tiff.photo_page
    "camera raw",
    rb"FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|....ftypcrx |II....HEAPCCDR|\0MRM|FOVb",
    _RAW,
    package="rawpy",
    install="rawpy",
    extra="raw",
)
JXL = Format(
    *("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL ", ".jxl"),
    package="pillow_jxl",
    install="pillow-jxl-plugin",
    extra="jxl",
)
# Who opens a file: the first that it fits, muster.storage.photos.decode by `name`, or Pillow.
FORMATS = (
    RAW,
    JXL,
    # An MPO is a JPEG with more JPEGs behind it; the first is the photo.
    Format("JPEG", rb"\xff\xd8\xff", ".jpg .jpeg .jpe .jfif .mpo", ("JPEG",)),
    Format("PNG", rb"\x89PNG", ".png", ("PNG",)),
    Format("WebP", rb"RIFF....WEBP", ".webp", ("WEBP",)),
    Format("HEIC or AVIF", b"....ftyp(?:%b)" % b"|".join(ISO_BRANDS), ".heic .heif .hif .avif", ("AVIF", "HEIF")),
    Format("TIFF", _TIFF, ".tif .tiff", ("TIFF",)),
    Format(
        "BMP", b"BM....\0{4}....(?:%b)\0{3}" % b"|".join(re.escape(bytes([n])) for n in _BMP_HEADERS), ".bmp", ("BMP",)
    ),
    Format("GIF", rb"GIF8", ".gif", ("GIF",)),
    Format("a Photoshop document", rb"8BPS", ".psd", ("PSD",)),
)
_SURE = {suffix: each for each in FORMATS for suffix in each.suffixes.split() if suffix not in _AMBIGUOUS}
IMAGE_SUFFIXES = frozenset(suffix for suffix, each in _SURE.items() if each.read)
SUFFIXES = " ".join(suffix for each in FORMATS if each.pillow for suffix in each.suffixes.split())  # always read
# That are not read here
PICTURES = frozenset(suffix for suffix, each in _SURE.items() if not each.read) | frozenset(_PICTURES.split())
PICTURES |= frozenset() if RAW.read else _AMBIGUOUS
# What is never looked into for a photo: some of it is one, of a photo that lies beside it.
NO_PHOTOS = PICTURES | frozenset(_OTHER_FILES.split())

OURS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", *TIFF, b"BM", b"GIF8", b"8BPS")
OTHER_IMAGES = {
    b"%PDF": "a PDF",
    b"\0\0\1\0": "an icon",
    b"icns": "an icon",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"DDS ": "a texture",
    b"<svg": "SVG",
    b"\x1aE\xdf\xa3": "a video",
}

_UNPACK = "unpack it into a folder, and name that"
_NAME_PHOTOS = "name photos, a folder of them, or a Parquet file"
_OTHERS = {  # how it begins → what it is, and what to do
    b"PK\3\4": ("a zip archive, or a document in one", "if photos are in it, give it a name that ends in .zip"),
    b"PK\5\6": ("an empty zip archive", _NAME_PHOTOS),
    b"Rar!": ("a rar archive", _UNPACK),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACK),
    b"\x1f\x8b": ("a gzip archive", _UNPACK),
    b"BZh": ("a bzip2 archive", _UNPACK),
    b"\xfd7zXZ": ("an xz archive", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", _UNPACK),
    b"PAR1": ("a Parquet file", "give it a name that ends in .parquet"),
    b"ARROW1": ("an Arrow file", "give it a name that ends in .arrow"),
    b"\x89HDF": ("an HDF5 file", "write its images as files, or as Parquet"),
    b"\x93NUMPY": ("a NumPy array", "write its images as files, or as Parquet"),
    b"SQLite format 3": ("an SQLite database", _NAME_PHOTOS),
    b"ID3": ("sound", _NAME_PHOTOS),
    b"OggS": ("sound or a video", _NAME_PHOTOS),
    b"RIFF": ("sound or a video", _NAME_PHOTOS),
}


def suffix_of(uri: str) -> str:
    """In small letters, with its dot; "" where there is none."""
    return os.path.splitext(uri.partition("?")[0] if "://" in uri else uri)[1].lower()


def stem_of(uri: str) -> str:
    """Without suffix, and without a bucket's options; in small letters, as names of cameras are alike in."""
    return os.path.splitext(uri.partition("?")[0] if "://" in uri else uri)[0].lower()


def is_photo(head: bytes) -> bool:
    """Whether a file that begins so is an image of a kind that is read here. A camera's raw file may look like one."""
    kind = format_of(head)
    return kind is not None and kind.read


def format_of(head: bytes) -> Format | None:
    """Of a file that begins so; None where it is of no format known here. Camera raw may look like a TIFF."""
    return next((each for each in FORMATS if each.fits(head)), None)


def needed(kind: Format) -> ImageError:
    """What a file's row says where the package is missing that reads it."""
    return ImageError("unsupported", _missing(kind))


def _missing(kind: Format) -> str:
    return f"{kind.name} needs {kind.install}: pip install '{DISTRIBUTION}[{kind.extra}]', or export it as JPEG"


def refusal(head: bytes, suffix: str) -> str:
    """What a file is that is no photo, and what to do about it, for messages. Nothing in it is quoted."""
    if head[257:262] == b"ustar":
        return "a tar archive: give it a name that ends in .tar"
    if (kind := RAW if suffix in RAW_SUFFIXES else format_of(head)) is not None and not kind.read:
        return f"of a kind that is not read without another package: {_missing(kind)}"
    for magic, (what, remedy) in _OTHERS.items():
        if head.startswith(magic):
            return f"{what}: {remedy}"
    for magic, what in OTHER_IMAGES.items():
        if head.startswith(magic):
            return f"{what}, which is not read: export it as JPEG, and name that"
    if head[4:8] == b"ftyp":
        return f"a video, or another ISO media file, which is not read: {_NAME_PHOTOS}"
    return f"{_text(head)}: {_NAME_PHOTOS}"


def _text(head: bytes) -> str:
    if not head:
        return "an empty file"
    if re.search(rb"[\0-\x08\x0e-\x1a]", head):
        return "no image, and begins like no format known here"
    kinds = {b"{": "JSON", b"[": "JSON", b"<": "HTML or XML"}
    return f"{kinds.get(head.lstrip()[:1], 'text, such as a CSV')}, and no image"
