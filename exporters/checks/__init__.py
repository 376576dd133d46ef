"""What an export folder's own files tell of it, for `verify`."""
