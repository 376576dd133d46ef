"""Object detection with our backbones, in MMDetection: the experiment that compares them."""
