"""Tables fitted to published measurements of blocks, and how well they predict what they have not seen."""
