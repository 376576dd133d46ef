"""A phone's browser as a device."""
