"""Files that are played as cameras, before a machine that may be slow."""

import pytest

from muster.storage.photos.camera import Camera, Frame


def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file waits until its last frame was taken: all are looked at, however slow this machine is."""
    keep = Camera._keep

    def kept(self: Camera, frame: Frame) -> None:
        while self._plays and self._frame is not None and not self._over.wait(0.01):
            pass
        keep(self, frame)

    monkeypatch.setattr(Camera, "_keep", kept)
