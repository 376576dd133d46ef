"""Images: where they come from, what is checked, how they are kept, and how batches are drawn from them."""

from typing import TYPE_CHECKING

from ...common.lazy import lazy_names

if TYPE_CHECKING:
    from .batches import batches_per_epoch, eval_batches, train_batches
    from .images import Dataset, FileImages, ImageSet, MemoryImages
    from .settings import Augment
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

__getattr__ = lazy_names(__name__, __file__)
