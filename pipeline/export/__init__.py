"""Stage `export/<name>`: a trained network leaves in every format, each one judged and timed."""
