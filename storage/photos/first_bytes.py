"""What a file is, by the bytes that it begins with, and which suffixes mean what."""

import os
import re

SUFFIXES = ".jpg .jpeg .jpe .jfif .mpo .png .webp .heic .heif .hif .avif .tif .tiff .bmp .gif"
IMAGE_SUFFIXES = frozenset(SUFFIXES.split())
_RAW = (
    ".3fr .ari .arw .bay .cr2 .cr3 .crw .dcr .dcs .dng .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw .nef .nrw .orf"
    " .pef .ptx .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
_PICTURES = (
    ".ai .bif .cdr .dds .eps .exr .hdr .icns .ico .j2k .jp2 .jpx .jxl .jxr .lsm .ndpi .ovr .pcx .psb .psd .scn .stk"
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
    " .7z .arrow .bz2 .csv .db .doc .docx .eml .epub .feather .gz .h5 .hdf5 .htm .html .idx .json .jsonl .key .lmdb"
    " .log .mat .md .npy .npz .numbers .odt .pages .pdf .pickle .pkl .ppt .pptx .rar .rst .rtf .sqlite .tar .tex"
    " .tfrecord .tgz .toml .tsv .txt .xls .xlsx .xml .xz .yaml .yml .zip .zst"
    # code and models
    " .bin .c .cc .cpp .css .dll .exe .go .h .ipynb .java .js .onnx .pt .pth .py .pyc .rb .rs .safetensors .sh .so .ts"
)
RAW_SUFFIXES = frozenset(_RAW.split())
PICTURES = RAW_SUFFIXES | frozenset(_PICTURES.split())  # that are not read here
# What is never looked into for a photo: some of it is one, of a photo that lies beside it.
NO_PHOTOS = PICTURES | frozenset(_OTHER_FILES.split())

HEAD = 512  # bytes that tell all that is told here
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter of files above 4 GB
OURS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", *TIFF, b"BM", b"GIF8")
OTHER_IMAGES = {
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop document",
    b"\0\0\1\0": "an icon",
    b"icns": "an icon",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"IIRO": "camera raw",
    b"IIU\0": "camera raw",
    b"DDS ": "a texture",
    b"<svg": "SVG",
    b"\x1aE\xdf\xa3": "a video",
}
ISO_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # lengths: two letters alone begin many texts
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
    b"ARROW1": ("an Arrow file", "write it as Parquet"),
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


def is_photo(head: bytes) -> bool:
    """Whether a file that begins so is an image of a kind that is read here. A camera's raw file may look like one."""
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    if head.startswith(b"BM"):
        return not any(head[6:10]) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    return head.startswith(OURS) or (head[4:8] == b"ftyp" and head[8:12] in ISO_BRANDS)


def refusal(head: bytes, suffix: str) -> str:
    """What a file is that is no photo, and what to do about it, for messages. Nothing in it is quoted."""
    if head[257:262] == b"ustar":
        return "a tar archive: give it a name that ends in .tar"
    if suffix in RAW_SUFFIXES:
        return "camera raw, which is not read: export it as JPEG, and name that"
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
