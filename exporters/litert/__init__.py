"""LiteRT files, in float32 and in 8 bits."""
