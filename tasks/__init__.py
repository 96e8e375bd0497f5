"""Pure computation on images and embeddings. `muster.tasks.base` knows the tasks by name."""
