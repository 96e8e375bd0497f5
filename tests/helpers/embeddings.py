"""Embeddings of people that do not exist."""

import faiss
import numpy as np


def people(sizes, noise=0.6, dimensions=64, seed=0):
    """Faces of people of these sizes, and who each is. Two faces of one have a cosine of about 1 / (1 + noise²)."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centres = random.normal(size=(len(sizes), dimensions))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    faces = centres[truth] + random.normal(size=(len(truth), dimensions)) * noise / np.sqrt(dimensions)
    return (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32), truth


def arc(*degrees):
    """Faces on a circle, so that the cosine of two is that of the angle between them."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def nearest(embeddings, k=None):
    """Neighbours and similarities of each face, as `cluster_graph` takes them; by default everybody, and two of -1."""
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    similarities, neighbours = index.search(embeddings, k or len(embeddings) + 2)
    return neighbours, similarities
