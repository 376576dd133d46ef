"""The mobile spaces, a YAML file each: inverted residuals between a stem and a head, to search and deploy."""
