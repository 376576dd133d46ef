"""Search algorithms where the truth is known."""
