"""What every folder shares: one root of errors, files that are whole or absent, readers that trust nothing."""
