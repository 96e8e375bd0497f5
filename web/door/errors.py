"""What the service says where it does not answer: a code for programs, a sentence for people."""

from dataclasses import dataclass

from muster.errors import ImageError, InputError, MusterError, NotEnrolledError, NotYetError

IMAGE_KINDS = ("empty", "not_an_image", "unsupported", "truncated", "corrupt")  # of ImageErrors of bytes

# code → HTTP status, and when it is said
CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "the request is not as described here"),
    "no_key": (401, "there is no key: send `Authorization: Bearer muster_…`"),
    "bad_key": (401, "nobody has such a key"),
    "revoked_key": (401, "the key was revoked"),
    "expired_key": (401, "the key has ended"),
    "wrong_role": (403, "the role of the key may not do this"),
    "not_found": (404, "there is no such address"),
    "not_enrolled": (404, "nobody of that person_id is enrolled"),
    "no_picture": (404, "there is no picture of this person's face any more"),
    "method_not_allowed": (405, "the address is asked by another method"),
    "timeout": (408, "the request took too long to arrive"),
    "not_ready": (409, "the gallery cannot be asked: nobody is enrolled, or no threshold is measured"),
    "no_length": (411, "the length of the request is not given"),
    "too_large": (413, "the request, or the image, is too large"),
    "unsupported_type": (415, "neither an image nor JSON"),
    **dict.fromkeys(IMAGE_KINDS, (422, "the image cannot be read")),
    "task": (422, "the network failed on this image"),
    "no_face": (422, "there is no face on the image"),
    "not_accepted": (422, "the person cannot be enrolled so: the sentence says why"),
    "rate_limited": (429, "more was asked than this key, or address, may in a minute"),
    "internal": (500, "a fault of Muster's, which its log shows"),
    "busy": (503, "the library or the machine is busy: ask again after Retry-After seconds"),
}


@dataclass
class RefusedError(Exception):
    """`retry`: seconds after which the same may be asked again. `key`: the id of the key that was refused."""

    code: str
    message: str
    retry: int | None = None
    key: str | None = None

    @property
    def status(self) -> int:
        return CODES[self.code][0]


def refused(error: Exception) -> RefusedError:
    """What is said of an error of the library."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, ImageError):
        return RefusedError(error.kind if error.kind in CODES else "corrupt", str(error))
    if isinstance(error, NotEnrolledError):
        return RefusedError("not_enrolled", str(error))
    if isinstance(error, NotYetError):
        return RefusedError("not_ready", f"{error.args[0]}")
    if isinstance(error, InputError):
        return RefusedError("not_ready", str(error))
    if isinstance(error, MusterError):
        return RefusedError("busy", str(error), retry=2)
    if isinstance(error, OSError):  # a disk that is full, or gone; its text names files
        return RefusedError("busy", "the library cannot be read or written now: see the log of the service", retry=2)
    return RefusedError("internal", "Muster has failed here, and its log shows how")
