"""The passport of an export, its page, its folder and its checksums."""
