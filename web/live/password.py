"""The password of a page that others in the house may look at: kept as scrypt's digest, with few tries."""

import hashlib
import hmac
import os
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from muster.errors import InputError

LEAST = 8  # letters
COST = {"n": 1 << 14, "r": 8, "p": 1}  # 16 MiB and 50 ms a try: RFC 7914, section 2
TRIES, WITHIN = 5, 300.0  # of one address, in so many seconds
ALL_TRIES = 100  # of all addresses together
ADDRESSES = 1000  # that are remembered


@dataclass
class Password:
    """`asked`: address → when it gave a wrong one."""

    digest: bytes
    salt: bytes
    asked: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    all_asked: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def of(text: str) -> "Password":
        """InputError where it is too short."""
        if len(text) < LEAST:
            raise InputError(f"a password of {len(text)} letters: give one of at least {LEAST}")
        salt = os.urandom(16)
        return Password(_digest(text, salt), salt)

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0: now."""
        now = time.monotonic()
        tried = self.asked.get(address, deque())
        for times in (tried, self.all_asked):
            while times and now - times[0] > WITHIN:
                times.popleft()
        over = [times[0] for times, most in ((tried, TRIES), (self.all_asked, ALL_TRIES)) if len(times) >= most]
        return max((WITHIN - (now - first) for first in over), default=0.0)

    def fits(self, text: str, address: str) -> bool:
        """Whether it is the password; where it is not, that is a try. Ask `wait` before; who asked more often at once
        than they may try is told that it is not."""
        with self._lock:  # before it is known: many are asked at the same time
            if self.wait(address):
                return False
            self._note(address)
        if not hmac.compare_digest(_digest(text, self.salt), self.digest):
            return False
        with self._lock:
            self.asked.pop(address, None)
            if self.all_asked:
                self.all_asked.pop()
        return True

    def _note(self, address: str) -> None:
        now = time.monotonic()
        self.asked.setdefault(address, deque()).append(now)
        self.asked.move_to_end(address)
        while len(self.asked) > ADDRESSES:
            self.asked.popitem(last=False)
        self.all_asked.append(now)


def _digest(text: str, salt: bytes) -> bytes:
    return hashlib.scrypt(text.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **COST)
