"""What a page may say, and what of it becomes a fingerprint. A page is not trusted: anything else is refused."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ...device import Fingerprint
from ...probe import MOST_VALUES

MOST_SAMPLES = 500  # in one message


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _float32(text: str) -> str:
    try:
        size = len(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError("is not base64") from error
    if size % 4 or not 4 <= size <= 4 * MOST_VALUES:
        raise ValueError(f"is not 1 to {MOST_VALUES} float32 values")
    return text


Text = Annotated[str, Field(max_length=500), AfterValidator(_printable)]
Name = Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
Place = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Message(BaseModel):
    """Anything that a page posts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Brand(Message):
    """A name that a browser goes by, as in `navigator.userAgentData`."""

    brand: Text
    version: Text


class Hello(Message):
    """A page that was opened, and what it knows of where it runs.

    Attributes:
        user_agent: `navigator.userAgent`; the fields up to `architecture` are empty in browsers that tell only this.
        cores: logical processors.
        isolated: whether the page is cross-origin isolated, as precise clocks and threads require.
        clock_us: smallest step of `performance.now()` that was seen.
        threads: threads in use, which may be fewer than asked for.
        runtime: version of ONNX Runtime Web.
    """

    user_agent: Text
    brands: Annotated[list[Brand], Field(max_length=10)]
    platform: Text
    platform_version: Text
    model: Text
    architecture: Text
    cores: Annotated[int, Field(ge=1, le=4096)]
    isolated: bool
    clock_us: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    threads: Annotated[int, Field(ge=1, le=4096)]
    runtime: Text

    def fingerprint(self) -> Fingerprint:
        """See `Fingerprint`; `isolated` is 1 or 0."""
        platform = " ".join(filter(None, [self.platform, self.platform_version])) or _platform_of(self.user_agent)
        plural = "" if self.threads == 1 else "s"
        facts: Fingerprint = {
            "name": ", ".join(filter(None, [self._browser(), self.model, platform])),
            "runtime": f"ONNX Runtime Web {self.runtime}, wasm, {self.threads} thread{plural}",
            "threads": self.threads,
            "clock_us": self.clock_us,
            "isolated": int(self.isolated),
            "cores": self.cores,
            "os": platform,
            "user_agent": self.user_agent,
        }
        return facts | ({"machine": self.architecture} if self.architecture else {})

    def _browser(self) -> str:
        """Name and major version. Brands hold a made-up one on purpose, and `Chromium` beside the product's own."""
        brands = [brand for brand in self.brands if not re.search(r"not.*brand", brand.brand, re.IGNORECASE)]
        own = [brand for brand in brands if brand.brand != "Chromium"] or brands
        return f"{own[0].brand} {own[0].version}" if own else _browser_of(self.user_agent)


class From(Message):
    """A page that said hello; `page` is the name it was given."""

    page: Name


class Taken(Message):
    """One model timed in one round; the model is named by its place in the job."""

    model: Place
    round: Place
    cold_ms: Milliseconds
    warm_ms: Milliseconds


class Samples(From):
    """What was measured since the last message; possibly nothing, to say that the page is alive."""

    job: Name
    samples: Annotated[list[Taken], Field(max_length=MOST_SAMPLES)]


class Output(From):
    """What a model gave for its probe input: little-endian float32 `probe_values`, in base64."""

    job: Name
    model: Place
    values: Annotated[str, AfterValidator(_float32)]

    def array(self) -> np.ndarray:
        """The values, float32 `[n]`."""
        return np.frombuffer(base64.b64decode(self.values), dtype="<f4").astype(np.float32)


class Failure(From):
    """A model that does not load or run there."""

    job: Name
    model: Place
    error: Text


# The first that is found counts: most browsers also claim to be the ones that come later.
_BROWSERS = {
    "Edge": r"Edg(?:A|iOS)?/(\d+)",
    "Opera": r"OPR/(\d+)",
    "Samsung Internet": r"SamsungBrowser/(\d+)",
    "Firefox": r"(?:Firefox|FxiOS)/(\d+)",
    "Headless Chrome": r"HeadlessChrome/(\d+)",
    "Chrome": r"(?:Chrome|CriOS)/(\d+)",
    "Safari": r"Version/(\d+(?:\.\d+)?).*Safari/",
}


def _browser_of(user_agent: str) -> str:
    for name, pattern in _BROWSERS.items():
        if match := re.search(pattern, user_agent):
            return f"{name} {match[1]}"
    return "unknown browser"


def _platform_of(user_agent: str) -> str:
    """The system in the first parentheses: `iPhone; CPU iPhone OS 18_1 like Mac OS X` and so on."""
    match = re.search(r"\(([^)]*)\)", user_agent)
    return match[1] if match else "unknown system"
