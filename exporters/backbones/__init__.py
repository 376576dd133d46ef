"""Networks as backbones for detection and segmentation: MMDetection, MMSegmentation, torchvision, DeepLab."""
