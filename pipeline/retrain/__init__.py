"""Stage `retrain/<name>`: stand-alone training."""
