"""How alike the choice blocks of a layer are: cosine similarity of their feature maps (FairNAS, Figures 2 and 6)."""

from __future__ import annotations

import copy
import io
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...common.files import write_atomic, write_json
from ...models import AnySupernet
from ..data import ImageSet, eval_batches
from ..runs.run import Workspace
from ..training.shared import to_device, training_device

VERSION = 1
OUTPUTS = ("similarity.json", "feature_maps.png")

_SHOWN_CHANNELS = 8
_TILE, _GAP = 48, 2  # pixels, of one feature map in the picture and between two


def compare_blocks(
    supernet: AnySupernet,
    images: ImageSet,
    count: int,
    resolution: int,
    paths: int,
    seed: int,
    workspace: Workspace,
) -> None:
    """Stage `similarity`: write `similarity.json`, and `feature_maps.png` of one image in the first layer.

    Args:
        supernet: trained; it is not changed.
        images: those to choose from.
        count: how many of them, spread over the set and taken as one batch.
        resolution: in pixels.
        paths: random paths on which a layer's input is computed; similarities are averaged over them.
        seed: of these paths.
        workspace: where to write.
    """
    device = training_device()
    # Statistics of a supernet mix all paths; those of the batch are the ones that a path alone would have.
    model = cast(AnySupernet, to_device(copy.deepcopy(supernet), device).train())
    images = images.subset(torch.linspace(0, len(images) - 1, min(count, len(images))).long())
    batch = next(iter(eval_batches(images, batch_size=len(images), resolution=resolution)))[0].to(device)
    rng = np.random.default_rng(seed)
    sums: list[list[Tensor]] = []
    picture = b""
    with torch.inference_mode():
        for _ in range(paths):
            outputs = model.candidates(batch, supernet.space.sample(rng).choices)
            for layer, features in enumerate(outputs):
                if layer == len(sums):
                    sums.append([])
                sums[layer].append(cosine_similarity(features))
                if not picture:
                    picture = _picture(features)
    layers = [torch.stack(matrices).nanmean(0) for matrices in sums]
    where, names = supernet.places
    summary = {
        "choices": [str(choice) for choice in supernet.space.choices],
        "layers": [[[_rounded(value) for value in row] for row in matrix.tolist()] for matrix in layers],
        "where": where,
        "names": names,
        "images": len(images),
        "paths": paths,
    }
    write_json(workspace.folder / "similarity.json", summary)
    write_atomic(workspace.folder / "feature_maps.png", picture)


def cosine_similarity(features: Tensor) -> Tensor:
    """Similarity of every two candidates, averaged over channels.

    A channel's feature maps of all images are one vector, so that layers with a single pixel have a direction too.

    Args:
        features: of every candidate, `[m, B, C, H, W]`.

    Returns:
        `[m, m]`, from -1 to 1; nan for a candidate whose features are all zero, as those of the operation `none`.
    """
    vectors = features.transpose(1, 2).flatten(2).double()  # [m, C, BHW]
    lengths = vectors.norm(dim=2, keepdim=True)
    directions = torch.where(lengths > 0, vectors / lengths, torch.nan)
    return torch.einsum("icx,jcx->ijc", directions, directions).nanmean(2).clamp(-1, 1)


def _picture(features: Tensor) -> bytes:
    """Feature maps of the first image: a row per candidate, a column per channel, each channel on one grey scale."""
    maps = features[:, 0, :_SHOWN_CHANNELS].float().cpu()  # [m, C, H, W]
    low, high = maps.amin((0, 2, 3), keepdim=True), maps.amax((0, 2, 3), keepdim=True)
    grey = ((maps - low) / (high - low).clamp(min=1e-12) * 255).byte()
    rows, columns = grey.shape[:2]
    step = _TILE + _GAP
    sheet = Image.new("L", (columns * step - _GAP, rows * step - _GAP), 255)
    for row in range(rows):
        for column in range(columns):
            tile = Image.fromarray(grey[row, column].numpy()).resize((_TILE, _TILE), Image.Resampling.NEAREST)
            sheet.paste(tile, (column * step, row * step))
    file = io.BytesIO()
    sheet.save(file, "png")
    return file.getvalue()


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
