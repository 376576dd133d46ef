"""The fitted tables that come with the package: what they are made of, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...common.files import sha256_file
from ...latency_tables.errors import LatencyError
from ...latency_tables.predictor import Predictor
from ...latency_tables.table import SCHEMA_VERSION, LatencyTable
from ...latency_tables.table_parts import NetworkFactor, Validation
from ...models import PUBLISHED, get_space
from . import fbnet32, nasbench201, note10, pixel1
from .fitting import fit_model, used_features, usual_features, validate
from .measurement import Measurement

_PIXEL1_FEATURES = (
    "activated_madds",
    "linear_madds",
    "depthwise_madds",
    "activated_elements",
    "depthwise_elements_beyond_512kb",
    "residual_elements",
    "classifier_weights",
)
# Seven networks tell the factor; the figures are all that was published of the comparison, and the networks' blocks are
# not among the measurements. 1.2% is a mean error: 90% stay within 3.1% (Student, n = 7), and 14% is a rounded figure.
_PIXEL1_NETWORKS = NetworkFactor(
    factor=0.877,
    n=7,
    error=0.04,
    source="seven whole networks that Once-for-All (arXiv 1908.09791) measured on that phone: what their blocks add up "
    "to is 14% too high, and 1.2% off after this factor",
)


@dataclass(frozen=True, slots=True)
class Shipped:
    """A table to fit.

    Attributes:
        name: of the table.
        device: for people.
        runtime: what ran the blocks, and who says so.
        blocks: what was measured, for people.
        source: where the measurements come from.
        file: their file.
        by: what a group is that is held out together.
        unpriced: what the table refuses or extrapolates, for people.
        read: reads the measurements from a folder.
        features: what is fitted, where the measurements are too few for all that their blocks have.
        networks: what whole networks said of the sums of blocks.
        check: further figures, from the folder, the measurements and the coefficients.
    """

    name: str
    device: str
    runtime: str
    blocks: str
    source: str
    file: str
    by: str
    unpriced: str
    read: Callable[[Path], list[Measurement]]
    features: Sequence[str] = ()
    networks: NetworkFactor | None = None
    check: Callable[[Path, dict[str, float]], dict[str, Any]] | None = None

    def fit(self, folder: Path) -> tuple[LatencyTable, dict[str, Any]]:
        """Fit and check the table.

        Returns:
            The table, and its entry in results/latency_fits.json.

        Raises:
            LatencyError: the measurements cannot be used.
        """
        measurements = self.read(folder)
        everything = used_features(measurements)
        features = list(self.features or usual_features(measurements))
        if len(measurements) <= len(features):
            raise LatencyError(
                f"{folder / self.file} has {len(measurements)} measurements: a fit of {len(features)} features needs "
                "more; restore the file"
            )
        model = fit_model(measurements, features)
        errors = validate(measurements, features, chosen_among=everything if self.features else ())
        checked = self.check(folder, model.coefficients) if self.check else {}
        checksum = sha256_file(folder / self.file)
        table = LatencyTable(
            schema_version=SCHEMA_VERSION,
            name=self.name,
            kind="fitted",
            device={"name": self.device},
            runtime=self.runtime,
            source=f"our fit to {self.source}; sha256 of the file {checksum}",
            validation=Validation.model_validate({"by": self.by, **errors, **checked}),
            model=model,
            network_factor=self.networks,
        )
        described = {
            "device": self.device,
            "runtime": self.runtime,
            "blocks": self.blocks,
            "unpriced": self.unpriced,
            "by": self.by,
            "source": self.source,
            "file": self.file,
            "file_sha256": checksum,
        }
        factor = {"network_factor": self.networks.model_dump()} if self.networks else {}
        return table, described | errors | checked | factor | {
            "published_networks": _published(Predictor(table)),
            "coefficients": model.coefficients,
        }


def _published(predictor: Predictor) -> dict[str, dict[str, Any]]:
    """What FairNAS-A, B and C take at 224 pixels, with the interval."""
    space = get_space("b")
    predictions = {
        name: predictor.predict(space.blocks(PUBLISHED[name], 224)) for name in ("fairnas_a", "fairnas_b", "fairnas_c")
    }
    return {
        name: {
            "latency_ms": round(found.latency_ms, 2),
            "low_ms": round(found.low_ms, 2),
            "high_ms": round(found.high_ms, 2),
            "extrapolated": found.extrapolated,
        }
        for name, found in predictions.items()
    }


def _fbnet(name: str, device: str, column: str) -> Shipped:
    def read(folder: Path) -> list[Measurement]:
        return fbnet32.without_groups(fbnet32.read(folder, column))

    def check(folder: Path, coefficients: dict[str, float]) -> dict[str, Any]:
        everything = fbnet32.read(folder, column)
        parts = fbnet32.base_features(everything)
        grouped = validate(everything, usual_features(everything))
        return {
            "with_grouped_convolutions": {key: grouped[key] for key in ("n", "loo_mape", "grouped_mape")},
            "rest_of_fbnet": {
                "measured_ms": round(fbnet32.read_base(folder, column), 4),
                "predicted_ms": round(sum(c * parts.get(name, 0) for name, c in coefficients.items()), 4),
            },
            "nasbench201": nasbench201.check(folder, column, coefficients),
        }

    return Shipped(
        name=name,
        device=device,
        runtime="not named by the file (TensorFlow Lite, to our knowledge)",
        blocks="FBNet blocks at 32 px (kernel 3 and 5, expansion 1, 3 and 6)",
        source="the FBNet block latencies published as HW-NAS-Bench (arXiv 2103.10584; each less that of the skip in "
        "its place)",
        file=fbnet32.FILE,
        by="shape: channels, resolution, stride",
        unpriced="squeeze-and-excitation, Swish and h-swish are refused; extrapolated: kernel 7, more than 32 px, "
        "stem, head, separable convolution, classifier",
        read=read,
        check=check,
    )


SHIPPED = {
    table.name: table
    for table in (
        Shipped(
            name="pixel1",
            device="Google Pixel 1",
            runtime="TensorFlow Lite, one core",
            blocks="MobileNetV2 blocks at 224 px (kernel 3, 5 and 7, expansion 3 and 6), stem, head, classifier",
            source="the per-block measurements published with ProxylessNAS (arXiv 1812.00332; Pixel 1, TensorFlow "
            "Lite, one core, according to the paper; the file names no device)",
            file=pixel1.FILE,
            by="shape: channels, resolution, stride",
            unpriced="squeeze-and-excitation, Swish and h-swish are refused; extrapolated: sizes outside the measured "
            "ones",
            read=pixel1.read,
            features=_PIXEL1_FEATURES,
            networks=_PIXEL1_NETWORKS,
        ),
        Shipped(
            name="note10",
            device="Samsung Galaxy Note10",
            runtime="not named by the file",
            blocks="MobileNetV3 blocks at 160 to 224 px (kernel 3, 5 and 7, expansion 3, 4 and 6, with and without "
            "squeeze-and-excitation and h-swish), stem, head, classifier",
            source="the Note10 latency tables published with Once-for-All (arXiv 1908.09791)",
            file=note10.FILE,
            by="block: all its resolutions together",
            unpriced="Swish is refused; relu6 is priced as relu; extrapolated: sizes outside the measured ones",
            read=note10.read,
        ),
        _fbnet("pixel3", "Google Pixel 3", "pixel3"),
        _fbnet("rpi4", "Raspberry Pi 4", "raspi4"),
    )
}
