"""The report: what it says about a run, what it leaves out, and that a browser draws it without asking anyone."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fairnas.exporters.pages import formatting
from fairnas.pipeline.report import figures, pareto, sections, write_report
from fairnas.pipeline.report.run_files import read_run
from fairnas.pipeline.report.style import network_styles
from plotly.offline import get_plotlyjs

from . import browser as web
from . import report_fixture as fixture

PLOTS = ["pareto-latency-ms", "latency-comparison", "supernet-loss", "retraining", "fairness-map"]
PLOTS += ["hypervolume", "block-similarity", "lemma"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return fixture.write_run(tmp_path / "pixel-quickstart")


@pytest.fixture(scope="module")
def browser() -> Iterator[web.Browser]:
    if lacking := web.missing():
        pytest.skip(f"no {' and no '.join(lacking)} on this machine: apt-get install chromium chromium-driver")
    with web.chromium() as opened:
        yield opened


class Page(HTMLParser):
    """Headings, tables, links and scripts of a page, and its text without scripts and styles."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page(run: Path) -> Page:
    # Python's parser takes long over the plotting library, and a browser reads it in the tests below.
    return Page(write_report(run).read_text().replace(get_plotlyjs(), "", 1))


def shown_plots(content: Page) -> list[str]:
    return [str(attributes["data-plot"]) for _, attributes in content.tags if "data-plot" in attributes]


def test_a_whole_run_has_every_plot_and_its_numbers(run: Path) -> None:
    content = page(run)
    assert sorted(shown_plots(content)) == sorted(PLOTS)
    picks = json.loads((run / "search" / "picks.json").read_text())
    for pick in picks:
        assert formatting.milliseconds(pick["latency_ms"]) in content.text
        assert pick["architecture"] in content.text
    assert "updated exactly 300 times" in content.text
    assert "Limit on latency: 8.10 ms" in content.text
    assert "3 of 3" in content.text
    assert "3.8%" in content.text
    assert "could not be read" not in content.text


def test_a_demonstration_says_so_and_fitted_and_extrapolated_numbers_are_marked(tmp_path: Path) -> None:
    demonstration = page(fixture.write_run(tmp_path / "pixel-quickstart"))
    assert "A demonstration." in demonstration.text
    badges = [a.get("class") for tag, a in demonstration.tags if tag == "span"]
    # Once in the headline, once for each export; extrapolated also for each pick; limits kept as predicted for both.
    assert badges.count("badge amber") == 2 + 2 * 3 + 3 + 2 * 3
    real = page(fixture.write_run(tmp_path / "cpu-run", target="cpu", dataset="cifar10"))
    assert "A demonstration." not in real.text
    assert "badge amber" not in [a.get("class") for tag, a in real.tags if tag == "span"]


def test_a_page_without_picks_says_so_and_unmeasured_ones_are_shown_as_searched(run: Path) -> None:
    shutil.rmtree(run / "picks")
    content = page(run)
    for pick in json.loads((run / "search" / "picks.json").read_text()):
        assert pick["architecture"] in content.text
    (run / "search" / "picks.json").unlink()
    assert "has been picked yet" in page(run).text


def test_picks_have_their_interval_and_what_the_device_said(tmp_path: Path) -> None:
    ms = formatting.milliseconds
    for target, measured in (("pixel", False), ("cpu", True)):
        run = fixture.write_run(tmp_path / target, target=target)
        text = page(run).text
        for pick in json.loads((run / "picks" / "picks.json").read_text()):
            assert f"{ms(pick['latency_low_ms'])} to {ms(pick['latency_high_ms'])}" in text
            assert not measured or ms(pick["measured_ms"]) in text
        assert ("not attached" in text) != measured
        assert (
            f"{ms(fixture.DROPPED_MS)} measured, {ms(fixture.LIMIT_MS)} allowed: {fixture.DROPPED}" in text
        ) == measured


def test_a_pick_that_the_device_finds_too_slow_has_exceeded_its_limit(tmp_path: Path) -> None:
    """Whatever was predicted: the measurement counts."""
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    path = run / "picks" / "picks.json"
    picks = json.loads(path.read_text())
    before = page(run).text.count("exceeded")
    picks[0]["measured_ms"] = 1.01 * fixture.LIMIT_MS
    path.write_text(json.dumps(picks))
    assert page(run).text.count("exceeded when measured") == before + 2  # as a pick, and as what was exported


def test_limits_are_those_that_the_device_judged_by_whatever_they_limit(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    history, measured = run / "search" / "history.json", run / "picks" / "measured.json"
    limits = ["latency_ms<=1", "latency_upper_ms<=2", "latency_int8_ms<=3", "madds<=4"]
    history.write_text(json.dumps(json.loads(history.read_text()) | {"constraints": limits}))

    def found(record: Any) -> list[float]:
        measured.write_text(json.dumps(record))
        return [limit.value for limit in read_run(run).constraints]

    assert found({"limit_ms": 1.5}) == [1.5, 2, 3, 4]  # of before quantities were written
    assert found({"limit_ms": 1.5, "int8": {"limit_ms": 3.5}}) == [1.5, 2, 3.5, 4]
    upper = {"limit_ms": 2.5, "quantity": "latency_upper_ms"}
    assert found(upper | {"int8": {"limit_ms": 3.5, "quantity": "latency_int8_ms"}}) == [1, 2.5, 3.5, 4]
    assert found({"limit_ms": None, "quantity": None, "int8": {"limit_ms": []}}) == [1, 2, 3, 4]
    assert found({"limit_ms": 1.5, "quantity": ["latency_ms"], "int8": 3}) == [1.5, 2, 3, 4]


def test_picks_in_int8_have_their_columns(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    assert "in int8" not in page(run).text
    path, record = run / "picks" / "picks.json", run / "picks" / "measured.json"
    picks, measured = json.loads(path.read_text()), json.loads(record.read_text())
    said = {"latency_int8_ms": 1.23, "latency_int8_low_ms": 1.11, "latency_int8_high_ms": 1.35}
    path.write_text(json.dumps([picks[0] | said | {"measured_int8_ms": 1.27}, picks[1] | said, *picks[2:]]))
    refused = {"limit_ms": 1.4, "timings": {fixture.DROPPED: {"latency_ms": 1.57}}}
    record.write_text(json.dumps(measured | {"limit_ms": None, "int8": refused}))
    text = page(run).text
    for words in ("Predicted in int8", "1.23 ms", "1.11 ms to 1.35 ms", "Measured in int8", "1.27 ms", "not measured"):
        assert words in text
    assert f"1.57 ms measured in int8, 1.40 ms allowed: {fixture.DROPPED}" in text


@pytest.mark.parametrize(("state", "red"), [("validated", 0), ("fitted", 0), ("failed", 1), ("unvalidated", 1)])
def test_a_table_that_is_not_to_be_trusted_is_said_to_be_so_in_red(tmp_path: Path, state: str, red: int) -> None:
    run = fixture.write_run(tmp_path / "cpu", target="cpu")
    path = run / "latency" / "validation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": state, "figure": "50% of 20 networks"}))
    content = page(run)
    alarms = [attributes for _, attributes in content.tags if attributes.get("role") == "alert"]
    assert len(alarms) == red
    assert ("latency not to be trusted" in content.text) == bool(red)
    assert f"{state}: 50% of 20 networks" in content.text
    assert not red or "note bad" in str(alarms[0]["class"])


def test_the_page_is_accessible_and_closed(run: Path) -> None:
    content = page(run)
    assert content.open == []
    assert content.levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in zip(content.levels, content.levels[1:], strict=False))
    assert content.levels.count(1) == 1
    plots = [a for tag, a in content.tags if tag == "div" and a.get("class") == "plot"]
    assert len(plots) == len(PLOTS)
    assert all(a["role"] == "group" and len(a["aria-label"] or "") > 40 for a in plots)
    assert all(a.get("scope") in {"col", "row"} for tag, a in content.tags if tag == "th")
    ids = [a["id"] for _, a in content.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a["aria-labelledby"] in ids for _, a in content.tags if "aria-labelledby" in a)


def test_nothing_is_fetched_and_links_stay_in_the_run_folder(run: Path) -> None:
    content = page(run)
    assert not [tag for tag, a in content.tags if "src" in a]
    links = [a["href"] or "" for tag, a in content.tags if tag in {"a", "link"}]
    files = [f"../export/{name}/{file}" for name in fixture.PICKS for file in ("model.onnx", "passport.html")]
    assert sorted(links) == sorted(["data:,", *files])
    policy = next(a["content"] for tag, a in content.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert write_report(run).read_text().count("plotly.js v") == 1


def test_the_same_run_gives_the_same_bytes_and_leaves_no_other_file(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert [path.name for path in (run / "report").iterdir()] == ["index.html"]


@pytest.mark.parametrize(
    ("missing", "sentence", "lost"),
    [
        ("supernet/metrics.jsonl", "has not logged anything yet", {"supernet-loss"}),
        ("supernet/fairness.json", "no ledger", {"fairness-map", "lemma"}),
        ("similarity/similarity.json", "Nobody has compared", {"block-similarity"}),
        ("search/pareto.csv", "not scored any architecture", {"pareto-latency-ms"}),
        ("picks/picks.json", "Evenly spaced on the front", set()),
        ("picks/measured.json", "Evenly spaced on the front", set()),
        ("search/history.json", "not finished a generation", {"hypervolume"}),
        ("manifest.json", "No stage has finished", set()),
        ("latency/table.json", "Networks for pixel", set()),
        ("latency/validation.json", "Networks for pixel", set()),
        ("config.yaml", "Networks for pixel", set()),
    ],
)
@pytest.mark.parametrize("how", ["missing", "empty", "truncated"])
def test_a_missing_or_broken_file_leaves_out_its_section_only(
    run: Path, missing: str, sentence: str, lost: set[str], how: str
) -> None:
    path = run / missing
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_text("")
    else:
        text = path.read_text()
        path.write_text(text[: len(text) // 2] if missing != "config.yaml" else "target: [")
    content = page(run)
    kept_half = how == "truncated" and path.suffix in {".jsonl", ".csv"}
    if not kept_half:
        assert sentence in content.text
        assert set(PLOTS) - set(shown_plots(content)) == lost
    named = f"{missing} could not be read" in content.text
    assert named == (
        how != "missing" and path.suffix in {".json", ".yaml"} and (how, path.suffix) != ("empty", ".yaml")
    )


@pytest.mark.parametrize("stage", ["nothing", "supernet", "search", "retrain"])
def test_a_run_that_stopped_early_has_a_report(tmp_path: Path, stage: str) -> None:
    run = fixture.write_run(tmp_path / "pixel-quickstart")
    order = ["supernet", "latency", "search", "picks", "retrain", "export"]
    done = order[: order.index(stage) + 1] if stage in order else []
    for name in order:
        if name not in done:
            shutil.rmtree(run / name)
    if not done:
        (run / "manifest.json").unlink()
        (run / "config.yaml").unlink()
    content = page(run)
    assert "Networks for pixel" in content.text
    assert "No network has been exported yet" in content.text
    assert ("fairness-map" in shown_plots(content)) == bool(done)


@pytest.mark.parametrize("value", [None, "text", [], {}, [[None]], float("nan"), -1, [{"x": 1}], {"stages": {"a": 3}}])
def test_files_of_another_shape_never_crash_it(tmp_path: Path, value: object) -> None:
    run = fixture.write_run(tmp_path, names=["pick-1"])
    for path in sorted(run.rglob("*.json")):
        before = path.read_text()
        path.write_text(json.dumps(value))
        write_report(run)
        path.write_text(before)


def test_fields_of_another_type_never_crash_it(tmp_path: Path) -> None:
    run = fixture.write_run(tmp_path, names=["pick-1"])
    for path in sorted(run.rglob("*.json")):
        before = path.read_text()
        data = json.loads(before)
        for odd in (None, "?", 7, [], {}, [None], {"a": None}):
            altered = (
                [dict.fromkeys(item, odd) for item in data] if isinstance(data, list) else dict.fromkeys(data, odd)
            )
            path.write_text(json.dumps(altered))
            write_report(run)
        path.write_text(before)


def test_text_from_data_is_shown_and_never_becomes_markup(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>'\"&amp;"
    run = fixture.write_run(tmp_path / "pixel-<b>x", dataset=hostile)
    for name in ("picks/picks.json", "search/history.json", "manifest.json"):
        text = (
            (run / name).read_text().replace("pick-2", "</script><script>alert(2)</script>").replace("multiply", "<i>")
        )
        (run / name).write_text(text)
    content = page(run)
    assert hostile in content.text
    assert "</script><script>alert(2)</script>" in content.text
    assert not {"img", "i", "b"} & {tag for tag, _ in content.tags}
    assert len([1 for tag, _ in content.tags if tag == "script"]) == len(shown_plots(content)) + 2


def test_a_file_name_cannot_become_a_foreign_address(run: Path) -> None:
    path = run / "export" / "pick-1" / "passport.json"
    path.write_text(path.read_text().replace('"model.onnx"', '"javascript:alert(1)//example.org?a#b"'))
    links = [a["href"] for tag, a in page(run).tags if tag == "a"]
    assert links[1] == "../export/pick-1/javascript%3Aalert%281%29//example.org%3Fa%23b"


def test_a_withheld_format_is_shown_with_its_reason_and_does_not_count_as_the_best(run: Path) -> None:
    content = page(run)
    assert content.text.count(fixture.WITHHELD) == len(fixture.PICKS)
    badges = [a.get("class") for tag, a in content.tags if tag == "span"]
    assert badges.count("badge bad") == len(fixture.PICKS)
    path = run / "export" / "pick-1" / "passport.json"
    passport = json.loads(path.read_text())
    kept, withheld = passport["formats"]
    withheld["accuracy"]["exported_top1"] = 0.999
    path.write_text(json.dumps(passport))
    files = read_run(run)
    best = sections.headline(files).best_top1
    assert (
        best == max(e.accuracy["exported_top1"] for e in sections.exports(files)) >= kept["accuracy"]["exported_top1"]
    )


def test_the_pareto_plot_holds_every_scored_architecture_once(run: Path) -> None:
    files = read_run(run)
    styles = network_styles(files.networks)
    plot = json.loads(pareto.pareto(files, "latency_ms", styles).json)
    rows = fixture.read_csv(run)
    sizes = {trace["name"].split(" (")[0]: len(trace["x"]) for trace in plot["data"]}
    front = sum(row["on_front"] == "True" for row in rows)
    over = sum(row["feasible"] == "False" for row in rows)
    assert sizes == {
        "outside a limit": over,
        "scored": len(rows) - front - over,
        "front": front,
        **dict.fromkeys(fixture.PICKS, 1),
    }
    best = max(float(row["accuracy"]) for row in rows if row["on_front"] == "True")
    assert max(next(t["y"] for t in plot["data"] if t["name"].startswith("front"))) == pytest.approx(best * 100)


def test_a_lower_limit_of_accuracy_is_drawn_and_judged(run: Path) -> None:
    path = run / "search" / "history.json"
    history = json.loads(path.read_text())
    history["constraints"] = ["accuracy>=0.85"]
    path.write_text(json.dumps(history))
    files = read_run(run)
    plot = pareto.pareto(files, "latency_ms", network_styles(files.networks))
    assert [shape["y0"] for shape in json.loads(plot.json)["layout"]["shapes"] if shape["type"] == "line"] == [85.0]
    assert "below the dashed line fall short of the limit of 85.0%" in plot.caption
    accurate = {pick["name"]: pick["accuracy"] >= 0.85 for pick in files.picks}
    kept = {pick.name: pick.kept.kept for pick in sections.picks(files) if pick.kept}
    assert kept == accurate
    assert {pick.kept.how for pick in sections.picks(files) if pick.kept} == {""}
    assert "at least 85.0%" in page(run).text


def test_a_run_without_a_search_is_called_a_supernet(run: Path) -> None:
    for folder in ("search", "picks", "retrain", "export"):
        shutil.rmtree(run / folder)
    with (run / "config.yaml").open("a") as config:
        config.write("space: macro\n")
    assert "A supernet of space macro" in page(run).text


def test_a_network_has_one_colour_in_all_plots(run: Path) -> None:
    files = read_run(run)
    styles = network_styles(files.networks)
    comparison = sections.latency(files, styles).plot
    retrained = sections.training(files, styles).retrain_plot
    assert comparison is not None
    assert retrained is not None
    seen: dict[str, set[str]] = {name: set() for name in fixture.PICKS}
    for plot in (pareto.pareto(files, "latency_ms", styles), comparison, retrained):
        for trace in json.loads(plot.json)["data"]:
            name = trace.get("name", "").removesuffix(" (EMA)")
            if name in seen:
                seen[name].add(trace["marker"].get("color") or trace["line"]["color"])
    assert [len(colours) for colours in seen.values()] == [1, 1, 1]
    assert len(set.union(*seen.values())) == 3


def test_three_objectives_give_a_plot_for_each_cost_without_a_line(run: Path) -> None:
    path = run / "search" / "history.json"
    history = json.loads(path.read_text())
    history["objectives"] = {"accuracy": "max", "latency_ms": "min", "madds": "min"}
    path.write_text(json.dumps(history))
    content = page(run)
    assert [name for name in shown_plots(content) if name.startswith("pareto")] == ["pareto-latency-ms", "pareto-madds"]
    assert "3 objectives (held-out accuracy, predicted latency, multiply-adds)" in content.text
    files = read_run(run)
    traces = json.loads(pareto.pareto(files, "madds", network_styles(files.networks)).json)["data"]
    assert {trace["mode"] for trace in traces} == {"markers", "markers+text"}


def test_a_large_search_is_thinned_and_says_so(run: Path) -> None:
    rows = fixture.read_csv(run)
    with (run / "search" / "pareto.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows * 40)
    files = read_run(run)
    plot = pareto.pareto(files, "latency_ms", network_styles(files.networks))
    sizes = {trace["name"]: len(trace["x"]) for trace in json.loads(plot.json)["data"]}
    assert sizes[next(name for name in sizes if name.startswith("scored"))] == figures.MAX_CLOUD
    assert sizes[next(name for name in sizes if name.startswith("front"))] == sum(s.on_front for s in files.scored)
    assert "are drawn" in plot.caption


def test_an_unequal_ledger_is_told_from_its_counts_whatever_it_claims(run: Path) -> None:
    path = run / "supernet" / "fairness.json"
    ledger = json.loads(path.read_text())
    ledger["counts"][4][2] = 271
    path.write_text(json.dumps(ledger))
    text = page(run).text
    assert "updated between 271 and 300 times" in text
    assert "exactly" not in text


def test_predictions_are_judged_only_against_the_same_device(tmp_path: Path) -> None:
    other = page(fixture.write_run(tmp_path / "pixel"))
    assert "compare the order, not the numbers" in other.text
    same = page(fixture.write_run(tmp_path / "cpu", target="cpu"))
    assert "predicted exactly" in same.text
    files = read_run(tmp_path / "cpu")
    comparisons = sections.latency(files, network_styles(files.networks)).comparisons
    assert all(c.same_device for c in comparisons)
    assert f"{comparisons[0].error * 100:+.1f}%" in same.text
    assert not re.search(r"[+-]\d+\.\d%", other.text)


def test_a_network_over_the_limit_is_counted_as_such(run: Path) -> None:
    path = run / "search" / "history.json"
    picks = sorted(pick["latency_ms"] for pick in json.loads((run / "search" / "picks.json").read_text()))
    path.write_text(path.read_text().replace('"latency_ms<=8.1"', f'"latency_ms<={(picks[0] + picks[1]) / 2}"'))
    text = page(run).text
    assert "1 of 3" in text
    assert text.count("exceeded") == 4


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (formatting.percent, 0.93124, "93.1%"),
        (formatting.percent, None, formatting.NOTHING),
        (formatting.percent, float("nan"), formatting.NOTHING),
        (formatting.percent, True, formatting.NOTHING),
        (formatting.milliseconds, 7.9, "7.90 ms"),
        (formatting.milliseconds, 0.04123, "0.041 ms"),
        (formatting.milliseconds, 1234.5, "1,234 ms"),
        (formatting.millions, 388_123_000, "388.1 M"),
        (formatting.millions, 4_651_352, "4.65 M"),
        (formatting.size, 16_734_221, "16.7 MB"),
        (formatting.size, 812, "812 B"),
        (formatting.duration, 0.04, "0.0 s"),
        (formatting.duration, 59.7, "1 min 00 s"),
        (formatting.duration, 7199, "2 h 00 min"),
        (formatting.duration, 200, "3 min 20 s"),
        (formatting.moment, "2026-05-01T14:03:30+02:00", "2026-05-01 12:03 UTC"),
        (formatting.moment, 0, "1970-01-01 00:00 UTC"),
        (formatting.moment, "yesterday", "yesterday"),
        (formatting.count, 1234567, "1,234,567"),
        (formatting.difference, 3.14e-6, "3.1e-06"),
        (formatting.architecture_blocks, "b:E3K7-E6K3+se0.5", [(3, 7), (6, 3)]),
        (formatting.architecture_blocks, "b:E3K7-skip", []),
        (formatting.architecture_lines, "b:1-2-3-4-5-6-7-8", ["b:1-2-3-4-5-6-7", "8"]),
    ],
)
def test_formats(function, value, expected) -> None:
    assert function(value) == expected


def test_a_browser_draws_every_point_and_has_nothing_to_complain_about(run: Path, browser: web.Browser) -> None:
    browser.resize(1280)
    browser.open(write_report(run).as_uri())
    assert browser.console() == []
    drawn = browser.evaluate("[...document.querySelectorAll('.plot:has(.main-svg)')].map((plot) => plot.id)")
    assert sorted(drawn) == sorted(PLOTS)
    points = {
        name: browser.evaluate(f"document.querySelectorAll('#{name} .scatterlayer .point').length") for name in PLOTS
    }
    rows = fixture.read_csv(run)
    picks = len(fixture.PICKS)
    assert points["pareto-latency-ms"] == len(rows) + picks
    assert points["latency-comparison"] == picks
    assert points["hypervolume"] == fixture.GENERATIONS
    assert points["retraining"] == fixture.EPOCHS * picks
    lines = browser.evaluate(
        "document.querySelector('#supernet-loss .js-line').getAttribute('d').match(/[ML,]/g).length"
    )
    assert lines > 100
    cells = browser.evaluate("document.querySelectorAll('#fairness-map .heatmap-label').length")
    assert cells == fixture.LAYERS * len(fixture.CHOICES)
    labels = browser.evaluate(
        "[...document.querySelectorAll('#pareto-latency-ms .textpoint')].map((t) => t.textContent)"
    )
    assert labels == fixture.PICKS
    assert browser.evaluate("performance.getEntriesByType('resource').length") == 0


def test_no_button_of_a_plot_offers_to_send_it_away(run: Path, browser: web.Browser) -> None:
    browser.resize(1280)
    browser.open(write_report(run).as_uri())
    buttons = browser.evaluate(
        "[...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title || b.ariaLabel)"
    )
    assert len(buttons) == 4 * len(PLOTS)
    assert not [title for title in buttons if re.search("cloud|share|edit|produced", title or "", re.IGNORECASE)]


@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_and_text_has_contrast(run: Path, browser: web.Browser, width: int, dark: bool) -> None:
    browser.resize(width, dark=dark)
    browser.open(write_report(run).as_uri())
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    # Text and the nearest opaque background behind it, by the formula of WCAG 2.
    pale = browser.evaluate(
        """(() => {
          const parse = (text) => text.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
            .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
          const back = (node) => {
            for (; node; node = node.parentElement) {
              const colour = parse(getComputedStyle(node).backgroundColor);
              if (colour.length < 4 || colour[3] === 1) return colour;
            }
            return [255, 255, 255];
          };
          const found = [];
          for (const node of document.querySelectorAll("body *:not(script, style, noscript)")) {
            if (![...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim())) continue;
            if (!node.checkVisibility() || node.matches("[aria-hidden], .heatmap-label, .heatmap-label *")) continue;
            const style = getComputedStyle(node);
            const ink = parse(node.closest("svg") ? style.fill : style.color);
            const [low, high] = [light(ink), light(back(node))].sort((a, b) => a - b);
            const ratio = (high + 0.05) / (low + 0.05);
            if (ratio < 4.5) found.push([node.textContent.slice(0, 40), ratio.toFixed(2), node.getAttribute("class")]);
          }
          return found;
        })()"""
    )
    assert pale == []


def test_printing_fits_the_page(run: Path, browser: web.Browser) -> None:
    browser.resize(1280)
    browser.open(write_report(run).as_uri())
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = browser.evaluate("[...document.querySelectorAll('.main-svg')].map((svg) => svg.clientWidth)")
    assert max(widths) <= 660
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate("document.querySelector('#retraining .main-svg').clientWidth") > 900
    assert browser.console() == []


@pytest.mark.parametrize("stage", ["empty", "unfinished"])
def test_an_unfinished_run_opens_without_errors(tmp_path: Path, browser: web.Browser, stage: str) -> None:
    run = tmp_path / "pixel-quickstart"
    if stage == "unfinished":
        fixture.write_run(run)
        for name in ("search/pareto.csv", "search/history.json", "supernet/fairness.json"):
            (run / name).unlink()
    run.mkdir(exist_ok=True)
    browser.open(write_report(run).as_uri())
    assert browser.console() == []
