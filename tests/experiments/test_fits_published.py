"""What is read from the published files: blocks, their features, and what is wrong with a damaged file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fairnas.experiments.latency_fits import fbnet32, nasbench201, note10, pixel1
from fairnas.latency_tables import LatencyError
from fairnas.latency_tables.block_features import FEATURES, block_features
from fairnas.models import Block, get_space

from . import published_files as files


def test_pixel1_rows_become_the_blocks_of_our_space(tmp_path: Path) -> None:
    files.write_csv(tmp_path / pixel1.FILE, files.pixel1_rows())
    assert [m.block for m in pixel1.read(tmp_path)] == list(get_space("b").all_blocks(224))


def test_every_feature_has_a_price_in_the_files() -> None:
    assert set(files.PRICES) == set(FEATURES)


@pytest.mark.parametrize("read", [note10.read, lambda folder: fbnet32.read(folder, "pixel3")])
def test_the_features_of_a_row_explain_its_latency(read, tmp_path: Path) -> None:
    files.write_all(tmp_path)
    measurements = read(tmp_path)
    assert measurements
    for m in measurements:
        assert files.price(m.features) == pytest.approx(m.latency_ms, rel=1e-9), (m.kind, m.block)


def test_note10_groups_hold_a_block_at_all_its_resolutions(tmp_path: Path) -> None:
    files.write_csv(tmp_path / note10.FILE, files.note10_rows())
    measurements = note10.read(tmp_path)
    for group in {m.group for m in measurements}:
        together = [m for m in measurements if m.group == group]
        assert len(together) == 3
        assert len({(m.block.in_channels, m.block.out_channels, m.block.kernel, m.kind) for m in together}) == 1


def test_note10_squeezes_as_once_for_all_does(tmp_path: Path) -> None:
    assert [note10.squeezed_channels(hidden) for hidden in (96, 144, 408, 544, 1152)] == [24, 40, 104, 136, 288]
    files.write_csv(tmp_path / note10.FILE, files.note10_rows())
    squeezing = [m.block for m in note10.read(tmp_path) if m.block.squeeze_channels]
    assert squeezing
    for block in squeezing:
        assert block.squeeze_channels == note10.squeezed_channels(block.hidden_channels)


def test_pooling_is_priced_with_the_classifier(tmp_path: Path) -> None:
    files.write_csv(tmp_path / note10.FILE, files.note10_rows())
    logits = [m for m in note10.read(tmp_path) if m.group == ("Logits",)]
    assert [m.block.resolution for m in logits] == [5, 6, 7]
    assert logits[0].features["pooled_elements"] == 1152 * 5**2
    assert logits[0].latency_ms == pytest.approx(files.price(logits[0].features))


def test_a_note10_file_without_pooling_is_refused(tmp_path: Path) -> None:
    rows = [row for row in files.note10_rows() if (row["type"], row["resolution"]) != ("AvgPool2D", 192)]
    files.write_csv(tmp_path / note10.FILE, rows)
    with pytest.raises(LatencyError, match="no AvgPool2D at resolution 192"):
        note10.read(tmp_path)


def test_equal_fbnet_blocks_count_once(tmp_path: Path) -> None:
    files.write_csv(tmp_path / fbnet32.FILE, files.fbnet_rows())
    measurements = fbnet32.read(tmp_path, "raspi4")
    assert len(files.fbnet_rows()) == 128
    assert len(measurements) == 88
    assert len(fbnet32.without_groups(measurements)) == 66


def test_equal_fbnet_blocks_with_two_latencies_are_refused(tmp_path: Path) -> None:
    rows = files.fbnet_rows()
    rows[0] |= {"pixel3_ms_minus_skip": 7}
    files.write_csv(tmp_path / fbnet32.FILE, rows)
    with pytest.raises(LatencyError, match="two latencies of mbconv mbconv-16x32-16-s1-k3-e1-relu"):
        fbnet32.read(tmp_path, "pixel3")


def test_the_rest_of_fbnet_is_stem_skips_head_and_classifier(tmp_path: Path) -> None:
    files.write_csv(tmp_path / fbnet32.FILE, files.fbnet_rows())
    features = fbnet32.base_features(fbnet32.read(tmp_path, "pixel3"))
    stem, head = 27 * 16 * 32**2, 352 * 1504 * 4**2
    skips = 16 * 24 * 32**2 + 24 * 32 * 16**2 + 32 * 64 * 8**2 + 64 * 112 * 8**2 + 112 * 184 * 4**2 + 184 * 352 * 4**2
    assert features["dense_madds"] == stem + head + skips + 1504 * 100
    assert features["classifier_weights"] == 1504 * 100


def test_a_base_file_without_the_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / fbnet32.BASE_FILE).write_text('{"pixel3": {}}')
    for device in ("pixel3", "raspi4"):
        with pytest.raises(LatencyError, match=f"no all_skip_network_ms of {device}"):
            fbnet32.read_base(tmp_path, device)


@pytest.mark.parametrize(
    ("file", "rows", "column", "value"),
    [
        (pixel1.FILE, files.pixel1_rows, "mean_ms", "soon"),
        (pixel1.FILE, files.pixel1_rows, "mean_ms", "nan"),
        (pixel1.FILE, files.pixel1_rows, "mean_ms", "-1"),
        (pixel1.FILE, files.pixel1_rows, "type", "Transformer"),
        (note10.FILE, files.note10_rows, "c_in", "3.5"),
        (note10.FILE, files.note10_rows, "resolution", ""),
        (fbnet32.FILE, files.fbnet_rows, "groups", "two"),
        (nasbench201.FILE, files.nasbench201_rows, "arch", "01234"),
        (nasbench201.FILE, files.nasbench201_rows, "arch", "012345"),
    ],
)
def test_a_damaged_row_is_named_in_one_line(file: str, rows, column: str, value: str, tmp_path: Path) -> None:
    damaged = rows()
    damaged[3] |= {column: value}
    files.write_csv(tmp_path / file, damaged)
    readers = {
        pixel1.FILE: pixel1.read,
        note10.FILE: note10.read,
        fbnet32.FILE: lambda folder: fbnet32.read(folder, "pixel3"),
        nasbench201.FILE: lambda folder: nasbench201.check(folder, "pixel3", {}),
    }
    with pytest.raises(LatencyError, match=r"csv, line 5: not a measured block .*; restore the file") as caught:
        readers[file](tmp_path)
    assert "\n" not in str(caught.value)


def test_files_without_content_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"cannot read measurements .*--data"):
        pixel1.read(tmp_path)
    (tmp_path / pixel1.FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LatencyError, match="cannot read measurements"):
        pixel1.read(tmp_path)
    (tmp_path / pixel1.FILE).write_text("type,h_in\n")
    with pytest.raises(LatencyError, match="has no measurements"):
        pixel1.read(tmp_path)


def test_a_nasbench201_network_counts_the_published_multiply_adds() -> None:
    """NAS-Bench-201 publishes 219.17 million multiply-adds for its largest network, with those of batch norm."""
    features = nasbench201.network_features("333333")
    assert features
    assert features["dense_madds"] == pytest.approx(219.17e6, rel=0.02)


@pytest.mark.parametrize("architecture", ["333000", "000033", "300300", "003300", "000000"])
def test_networks_with_idle_operations_are_left_out(architecture: str) -> None:
    assert nasbench201.network_features(architecture) is None


def test_the_scaled_error_is_the_least_over_all_factors() -> None:
    rng = np.random.default_rng(0)
    predicted, measured = rng.uniform(1, 9, 101), rng.uniform(1, 9, 101)
    least = nasbench201.scaled_error(predicted, measured)
    factors = np.linspace(0.05, 5, 2000)
    assert least <= min(np.abs(f * predicted / measured - 1).mean() for f in factors) + 1e-9
    assert nasbench201.scaled_error(3 * measured, measured) == pytest.approx(0)


def test_a_block_has_every_feature_and_more_of_them_when_it_grows() -> None:
    small = block_features(Block("mbconv", 32, 32, 28, 1, 3, 3, se_ratio=0.5))
    assert list(small) == list(FEATURES)
    for bigger in (
        Block("mbconv", 32, 32, 28, 1, 5, 3, se_ratio=0.5),
        Block("mbconv", 32, 32, 28, 1, 3, 6, se_ratio=0.5),
        Block("mbconv", 32, 32, 56, 1, 3, 3, se_ratio=0.5),
        Block("mbconv", 32, 32, 28, 1, 3, 3, se_ratio=1.0),
    ):
        grown = block_features(bigger)
        assert all(grown[name] >= amount for name, amount in small.items())
        assert grown != small


def test_multiply_adds_of_a_block_agree_with_its_exact_cost() -> None:
    for block in get_space("b").all_blocks(224):
        features = block_features(block)
        assert features["dense_madds"] + features["depthwise_madds"] == block.cost.madds
        assert features["activated_madds"] + features["linear_madds"] == features["dense_madds"]
