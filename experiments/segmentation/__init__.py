"""Semantic segmentation with our backbones: the experiment that compares them."""
