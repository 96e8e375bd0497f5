"""Pure computation on images and embeddings. Importing this package registers every task."""

from tasks import faces, previews, scenes

__all__ = ["faces", "previews", "scenes"]
