"""Images: where they come from, what is checked, how they are kept, and how batches are drawn from them."""

from .batches import Augment, batches_per_epoch, eval_batches, train_batches
from .images import Dataset, FileImages, ImageSet, MemoryImages
from .sources import NAMED_SOURCES, load_dataset

__all__ = [
    "NAMED_SOURCES",
    "Augment",
    "Dataset",
    "FileImages",
    "ImageSet",
    "MemoryImages",
    "batches_per_epoch",
    "eval_batches",
    "load_dataset",
    "train_batches",
]
