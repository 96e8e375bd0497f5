"""Pure computation on images and embeddings. Importing this package registers every task."""

from muster.tasks import faces, masks, objects, previews, scenes

__all__ = ["faces", "masks", "objects", "previews", "scenes"]
