"""Who and what is in a collection of photos, from one laptop to a Ray cluster."""
