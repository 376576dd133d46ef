"""Stage `export/<name>`: a trained network leaves in every format that was asked for, each one judged and timed.

What fails its check is withheld, and the passport says why.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor

from ...common.exhaustion import raise_if_exhausted
from ...common.files import sha256_file, write_atomic
from ...common.places import expanded
from ...common.text import shown
from ...exporters import ExportError
from ...exporters.deployable import Exported
from ...exporters.errors import in_one_line
from ...exporters.formats import file_names, format_names, get_format, packages
from ...exporters.judgement import Judgement, Limits, judge_format, right_answers
from ...exporters.onnx.formats import Onnx
from ...exporters.passport.checksums import SIGNATURE
from ...exporters.passport.folder import require_no_others, write_export_folder
from ...exporters.passport.passport import Passport, package_licenses
from ...exporters.passport.records import (
    Accuracy,
    ExportedFile,
    FormatRecord,
    LatencyRecord,
    Licenses,
    MemoryRecord,
    ParityRecord,
    Status,
)
from ...latency_tables import Device, HostDevice, Target
from ...models import Architecture
from ..config import Config
from ..console import console, progress_bar
from ..data import eval_batches
from ..errors import Paused
from ..runs.run import Workspace
from .candidate import Candidate
from .latency import measured_latencies, predictions_by_format
from .maker import TUNING, FormatMaker
from .subject import EVAL_BATCH, Subject

VERSION = 4
LOOKED_AT = 16  # images on which layers are compared one by one
ALONE = 64  # images that are also answered one at a time
OUTPUTS = ("passport.json", "passport.html", "SHA256SUMS")
PACKAGES = ("torch", "torchvision", "timm")  # besides those that formats name

# Of libraries and of the user's own code: one format's failure, of whatever kind, is that format's alone. Unless the
# machine ran out of something (`raise_if_exhausted`), which says nothing of a format.
_ANY = (Exception, SystemExit)


def export(
    subject: Subject,
    formats: Sequence[str],
    config: Config,
    target: Target,
    prediction: LatencyRecord | None,
    device: Device | None,
    lineage: Mapping[str, Any],
    workspace: Workspace,
) -> tuple[str, ...]:
    """Write the formats that pass, and what speaks of them and of those that do not: passport, page, checksums.

    Args:
        subject: what is exported.
        formats: as what.
        config: the run's configuration.
        target: what latency is predicted for.
        prediction: of the network in float32; None where no table prices it.
        device: the target's, where files are timed besides on this host; None where it is not there.
        lineage: what the network was made from.
        workspace: where to write.

    Returns:
        Names of the models that were written, and of the signature.

    Raises:
        ExportError: not one of the formats can be handed over.
    """
    names = _Export(subject, formats, config, target, prediction, device, workspace).run(lineage)
    return (*names, SIGNATURE) if config.export.sign_with else names


class _Export:
    """One network on its way out."""

    def __init__(
        self,
        subject: Subject,
        formats: Sequence[str],
        config: Config,
        target: Target,
        prediction: LatencyRecord | None,
        device: Device | None,
        workspace: Workspace,
    ) -> None:
        self.subject, self.formats, self.config, self.settings = subject, formats, config, config.export
        self.target, self.prediction, self.device, self.workspace = target, prediction, device, workspace
        self.limits = Limits(self.settings.tolerance, self.settings.int8.max_drop)
        self._float_reasons: dict[str, str | None] = {}

    def run(self, lineage: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns names of the models that were written."""
        for leftover in file_names():  # of a run that was killed
            (self.workspace.folder / leftover).unlink(missing_ok=True)
        require_no_others(self.workspace.folder)
        with progress_bar(self.subject.deployable.name, len(self.formats)) as bar:
            maker = FormatMaker(
                self.subject, self.config, self.target, self.workspace, lambda text: bar.advance(text, by=0)
            )
            candidates: dict[str, Candidate] = {}
            for name in self.formats:
                candidates[name] = self._candidate(maker, name)
                bar.advance(name)
            self._tune(maker, candidates)
            bar.advance("latency", by=0)
            candidates = self._timed(maker, candidates)
        for line in maker.branches:
            text = f"its course depends on the images at {line}: a file holds one course only"
            console.print(f"[yellow]        {self.subject.deployable.name}: {shown(text)}[/]")
        records = [self._record(name, candidate) for name, candidate in candidates.items()]
        refused = [record for record in records if record.status == "withheld"]
        for record in refused:
            console.print(f"[yellow]        {record.format} is withheld: {shown(record.reason)}[/]")
        for candidate, record in zip(candidates.values(), records, strict=True):
            if candidate.exported is not None and record.files:
                for file, content in candidate.exported.files.items():
                    write_atomic(self.workspace.folder / file, content)
        records = [self._with_files(record) for record in records]
        key = expanded(self.settings.sign_with) if self.settings.sign_with else None
        write_export_folder(self.workspace.folder, self._passport(records, lineage), key)
        shutil.rmtree(self.workspace.folder / TUNING, ignore_errors=True)
        if len(refused) == len(records):
            formats: dict[str | None, list[str]] = {}
            for record in refused:
                formats.setdefault(record.reason, []).append(record.format)
            raise ExportError("; ".join(f"{', '.join(names)}: {reason}" for reason, names in formats.items()))
        return tuple(sorted(file.path for record in records for file in record.files))

    def _candidate(self, maker: FormatMaker, name: str) -> Candidate:
        exported = None
        try:
            exported = maker.make(name)
            judgement = self._judged(maker, name, exported)
        except _ANY as error:  # which one format raises, or a library in it, must not keep the others
            raise_if_exhausted(error)
            return Candidate(exported, Judgement(reason=in_one_line(error)))
        try:
            images = next(iter(self._parity_batches()))[:LOOKED_AT]
            layer = maker.first_diverging_layer(exported, images)
        except _ANY as error:  # a diagnosis, of what was judged already
            raise_if_exhausted(error)
            facts = exported.facts | {"diagnosis": f"not available: {in_one_line(error)}"}
            return Candidate(replace(exported, facts=facts), judgement)
        return Candidate(exported, replace(judgement, first_diverging_layer=layer))

    def _judged(self, maker: FormatMaker, name: str, exported: Exported) -> Judgement:
        after = right_answers(exported.run, self._labelled()) if exported.run and self.subject.knows_classes else None
        judgement = judge_format(
            self.subject.deployable,
            exported,
            self._parity_batches,
            None if after is None else (self._hits, after),
            self.limits,
            one_by_one=ALONE,
            branches=bool(maker.branches),
            random_weights=self.subject.weights == "random",
        )
        if get_format(name).made_from is None:
            self._float_reasons[name] = judgement.reason
        wrong = self._wrong_before(maker, name)
        return replace(judgement, reason=wrong) if wrong else judgement

    def _wrong_before(self, maker: FormatMaker, name: str) -> str | None:
        """Why the float32 file is wrong that a format is made from; None where it is right."""
        float_form = get_format(name).made_from
        if float_form is None:
            return None
        if float_form not in self._float_reasons:
            judged = judge_format(
                self.subject.deployable,
                maker.make(float_form),
                self._parity_batches,
                None,
                self.limits,
                one_by_one=ALONE,
                branches=bool(maker.branches),
            )
            self._float_reasons[float_form] = judged.reason
        reason = self._float_reasons[float_form]
        return f"the float32 file that it is made from is wrong: {reason}" if reason else None

    def _tune(self, maker: FormatMaker, candidates: dict[str, Candidate]) -> None:
        """Where 8 bits lose too much, make them of the network fine-tuned for them, and keep what answers better.

        Better on training images that were set apart: nothing is chosen by the validation images.
        """
        lossy: list[tuple[str, Exported]] = [
            (name, candidate.exported)
            for name in format_names()
            if get_format(name).precision == "int8"
            and (candidate := candidates.get(name))
            and candidate.judgement.reason
            and candidate.exported
            # What is wrong in float32 stays wrong.
            and not self._float_reasons.get(get_format(name).made_from or name)
        ]
        try:
            if not lossy or not maker.tune():
                return
        except Paused:
            raise
        except Exception as error:  # a network that cannot be followed can still be handed over as it is
            raise_if_exhausted(error)
            console.print(f"[yellow]        not fine-tuned for 8 bits: {shown(in_one_line(error))}[/]")
            return
        for name, untuned in lossy:
            tuned = self._candidate(maker, name)
            if tuned.exported is None:
                continue
            before, after = (maker.selection_top1(each) for each in (untuned, tuned.exported))
            if after > before or (after == before and tuned.judgement.reason is None):
                told = {"fine_tuned": self.settings.tune.model_dump(), "selection_top1_untuned": before}
                candidates[name] = replace(tuned, exported=replace(tuned.exported, facts=tuned.exported.facts | told))

    def _timed(self, maker: FormatMaker, candidates: dict[str, Candidate]) -> dict[str, Candidate]:
        """With latencies: measured of ONNX files, in turns, and of others here; predicted of the network as it is."""
        made = {name: candidate.exported for name, candidate in candidates.items() if candidate.exported}
        models = {name: exported.model for name, exported in made.items() if get_format(name).is_onnx}
        # 8 bits are for speed: on the machine that they were made for, they must have it.
        racing = [
            name
            for name in models
            if self.target.device_kind == HostDevice.kind and get_format(name).precision == "int8"
        ]
        if racing:
            models.setdefault(Onnx.name, maker.float_onnx)
        measured = self._measured(models)
        for name, exported in made.items():
            if not get_format(name).is_onnx and (record := self._measured_here(exported)) is not None:
                measured[name] = [record]
        predicted = predictions_by_format(self.prediction, candidates)
        timed: dict[str, Candidate] = {
            name: replace(
                candidate, latency=(*([predicted[name]] if name in predicted else ()), *measured.get(name, ()))
            )
            for name, candidate in candidates.items()
        }
        for name in racing:
            if measured.get(Onnx.name) and measured.get(name):
                timed[name] = self._judged_by_speed(timed[name], measured[Onnx.name][-1], measured[name][-1])
        return timed

    def _measured_here(self, exported: Exported) -> LatencyRecord | None:
        """Latency of a file that is no ONNX file, on this host; None where it has none."""
        if exported.run is None:
            return None
        shape, rounds = self.subject.deployable.input_shape, self.settings.latency_rounds
        try:
            return get_format(exported.format).latency_here(exported.model, shape, rounds)
        except _ANY as error:
            raise_if_exhausted(error)
            _not_timed(exported.format, error)
            return None

    def _measured(self, models: Mapping[str, bytes]) -> dict[str, list[LatencyRecord]]:
        """Latencies of ONNX files; a file that cannot be timed has none, which takes none from the others."""
        shape = self.subject.deployable.input_shape
        try:
            return measured_latencies(models, shape, self.device, self.target, self.settings) if models else {}
        except _ANY as error:
            raise_if_exhausted(error)
            if len(models) == 1:
                _not_timed(next(iter(models)), error)
                return {}
        return {name: rows for each in models.items() for name, rows in self._measured(dict([each])).items()}

    def _judged_by_speed(self, candidate: Candidate, before: LatencyRecord, after: LatencyRecord) -> Candidate:
        speedup, least = before.latency_ms / after.latency_ms, self.settings.int8.min_speedup
        if candidate.judgement.reason or speedup >= least:
            return candidate
        reason = f"{speedup:.2f} times as fast as float here (limit {least:g})"
        return replace(candidate, judgement=replace(candidate.judgement, reason=reason))

    def _record(self, name: str, candidate: Candidate) -> FormatRecord:
        exported, found = candidate.exported, candidate.judgement
        status: Status = "written"
        reason = found.reason
        if exported is None or (reason and (not self.settings.force or found.parity is None)):
            status = "withheld"
        elif reason:
            status = "forced"
        elif found.parity is None:
            status, reason = "not_run", exported.not_run
        files = exported.files if exported is not None and status != "withheld" else {}
        return FormatRecord(
            format=name,
            status=status,
            reason=reason,
            # Digests are filled in when the files are there.
            files=[ExportedFile(path=file, bytes=0, sha256="0" * 64) for file in files],
            parity=self._parity(name, found),
            accuracy=self._accuracy(name, found),
            latency=list(candidate.latency),
            facts=exported.facts | ({"judged_by": found.judged_by} if found.judged_by else {}) if exported else {},
        )

    def _parity(self, name: str, found: Judgement) -> ParityRecord | None:
        if found.parity is None:
            return None
        tolerance = self.limits.tolerance if get_format(name).keeps_float32 else None
        return ParityRecord.of(found.parity, tolerance=tolerance, first_diverging_layer=found.first_diverging_layer)

    def _accuracy(self, name: str, found: Judgement) -> Accuracy | None:
        if found.top1 is None or found.top1_before is None:
            return None
        return Accuracy(
            pytorch_top1=found.top1_before,
            exported_top1=found.top1,
            images=len(self.subject.images.val),
            max_drop=None if get_format(name).keeps_float32 else self.limits.max_drop,
        )

    def _with_files(self, record: FormatRecord) -> FormatRecord:
        """A record with sizes and digests of what was written, and what running it takes."""
        files = []
        for file in record.files:
            path = self.workspace.folder / file.path
            files.append(ExportedFile(path=file.path, bytes=path.stat().st_size, sha256=sha256_file(path)))
        return record.model_copy(update={"files": files, "memory": self._memory(record)})

    def _memory(self, record: FormatRecord) -> MemoryRecord | None:
        if not record.files or record.status == "not_run":
            return None
        try:
            return get_format(record.format).memory(self.workspace.folder / record.files[0].path)
        except _ANY as error:
            raise_if_exhausted(error)
            console.print(f"[yellow]        {shown(in_one_line(error))}[/]")
            return None

    def _passport(self, records: list[FormatRecord], lineage: Mapping[str, Any]) -> Passport:
        subject, ours = self.subject, isinstance(self.subject.source, Architecture)
        model = subject.deployable
        return Passport(
            name=model.name,
            architecture=str(subject.source),
            se_ratio=subject.source.se_ratio if isinstance(subject.source, Architecture) else None,
            width=self.config.deploy.width if ours else None,
            resolution=subject.resolution,
            num_classes=len(model.classes),
            classes=list(model.classes),
            params=subject.cost.params,
            madds=subject.cost.madds,
            preprocessing=model.preprocessing,
            formats=records,
            licenses=Licenses(
                data=self.settings.data_license or "not stated", packages=package_licenses(*PACKAGES, *packages())
            ),
            lineage={**lineage, "weights": subject.weights},
        )

    @cached_property
    def _hits(self) -> Tensor:
        return right_answers(self.subject.deployable.network, self._labelled())

    def _labelled(self) -> Iterator[tuple[Tensor, Tensor]]:
        return eval_batches(self.subject.images.val, batch_size=EVAL_BATCH, resolution=self.subject.resolution)

    def _parity_batches(self) -> Iterator[Tensor]:
        sample = self.subject.images.val.spread(self.settings.parity_images)
        return (images for images, _ in eval_batches(sample, batch_size=EVAL_BATCH, resolution=self.subject.resolution))


def _not_timed(name: str, error: BaseException) -> None:
    console.print(f"[yellow]        {name} is not timed: {shown(in_one_line(error))}[/]")
