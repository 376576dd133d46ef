"""The stages of a run, a file each: what one needs, its key, and its work."""
