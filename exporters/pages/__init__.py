"""What the pages that people look at have in common."""
