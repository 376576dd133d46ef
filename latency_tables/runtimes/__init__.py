"""The libraries that run models, and the files that they read."""
