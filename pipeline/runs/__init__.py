"""Run folders: what is done, with what, what may be reused, and what nothing may take away."""
