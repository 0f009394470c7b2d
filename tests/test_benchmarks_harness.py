"""The benchmarks' own arithmetic, on timings made up so that the right answers are known."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


def load(name, monkeypatch):
    """The benchmarks are scripts of one folder, no package: loaded here by their file, and forgotten after the test."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def timing(monkeypatch):
    return load("timing", monkeypatch)


@pytest.fixture
def report(monkeypatch, timing):
    return load("report", monkeypatch)


def test_the_figure_is_the_median_of_the_pairs(timing):
    # The machine slows down tenfold after the second round: totals and medians of either side alone would mislead.
    ours, theirs = [1.0, 1.0, 10.0, 10.0, 10.0], [2.0, 2.0, 20.0, 30.0, 20.0]
    comparison = timing.Comparison("s", "w", "p", ours, theirs)
    assert comparison.pairs == [2.0, 2.0, 2.0, 3.0, 2.0]
    assert comparison.value == 2.0


@pytest.mark.parametrize(
    ("figure", "expected", "bound", "met"),
    [
        ("speedup", 1.25, 1.25, True),
        ("speedup", 1.25, 1.3, False),
        ("overhead", -0.2, -0.1, True),
        ("overhead", -0.2, -0.3, False),
        ("difference", -1.0, -0.9, True),
        ("difference", -1.0, -1.1, False),
        ("difference", -1.0, None, None),
    ],
)
def test_figures_and_bounds(timing, figure, expected, bound, met):
    comparison = timing.Comparison("s", "w", "p", [4.0], [5.0], figure, bound)
    assert comparison.value == pytest.approx(expected)
    assert comparison.met is met


def test_record_has_rates_scaled_seconds_and_the_fastest(timing):
    comparison = timing.Comparison(
        "s", "w", "p", [2.0, 4.0, 4.0], [8.0, 8.0, 6.0], work=(100, "scalars"), scale=(0.5, "per epoch")
    )
    record = comparison.record()
    assert record["speedup"] == {"median": 2.0, "min": 1.5, "max": 4.0}
    assert record["of_the_fastest"] == 3.0  # 6 / 2
    assert record["jaxviz_seconds"] == {"median": 2.0, "min": 1.0, "max": 2.0}
    assert (record["jaxviz_rate"], record["peer_rate"], record["rate_unit"]) == (25.0, 12.5, "scalars/s")
    json.dumps(record, allow_nan=False)


def test_spread_has_quartiles_from_four_values_on(timing):
    assert timing.spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert timing.spread([1.0, 2.0, 3.0, 4.0, 5.0])["lower_quartile"] == 2.0
    with pytest.raises(ValueError, match="no values"):
        timing.spread([])


def test_unequal_rounds_and_unknown_figures_are_refused(timing):
    with pytest.raises(ValueError, match="got 1 and 2"):
        timing.Comparison("s", "w", "p", [1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one"):
        timing.Comparison("s", "w", "p", [], [])
    with pytest.raises(ValueError, match="speedup, overhead, difference"):
        timing.Comparison("s", "w", "p", [1.0], [1.0], "speed")


def test_sides_take_turns_and_the_order_turns_round(timing):
    calls = []

    def call(name, seconds):
        def timed():
            calls.append(name)
            return seconds

        return timed

    found = timing.interleave({"a": call("a", 1.0), "b": call("b", 2.0)}, 3, warmup=1, pause=0)
    assert found == {"a": [1.0] * 3, "b": [2.0] * 3}
    assert "".join(calls) == "baabbaab"
    with pytest.raises(ValueError, match="at least 1"):
        timing.interleave({}, 0)


def test_seconds_wait_for_the_result(timing):
    waited = []

    class Pending:
        def block_until_ready(self):
            waited.append(True)

    assert timing.seconds_of(Pending) >= 0
    assert waited == [True]


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.0, "1,230,000"), (12.34, "12.3"), (0.001234, "0.00123"), (99.96, "100"), (0.0, "0.0")]
)
def test_rounded(timing, value, text):
    assert timing.rounded(value) == text


def test_cells_name_what_is_missed(timing, report):
    missed = timing.Comparison("hooks", "w", "p", [1.1, 1.1], [1.0, 1.0], "overhead", 0.05).record()
    assert report.cells(missed)[4:] == ("+10.0 %", "+10.0 % to +10.0 %", "≤ +5.0 %", "NO")
    fast = timing.Comparison("article", "w", "p", [0.001], [2.0], bound=1000.0, work=(2e6, "FLOP")).record()
    assert report.cells(fast)[1:5] == ("1.00 ms, 2.00 GFLOP/s", "p", "2.00 s, 1.00 MFLOP/s", "2,000 x")


def test_readme_is_updated_between_its_marks_only(tmp_path, timing, report):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    results = {
        "quick": False,
        "machine": {"time": "now", "processor": "cpu", "usable_cores": 2, "system": "os", "load_average": [0.1]},
        "load_average_after": [0.2],
        "versions": {"jax": "1"},
        "sections": {"s": {"comparisons": [timing.Comparison("s", "what", "peer", [1.0], [3.0]).record()]}},
    }
    for _ in range(2):
        report.update_readme(readme, results)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert text.count("| s | what | 1.00 s | peer | 3.00 s | 3.00 x |") == 1
    assert "old" not in text
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="no marks"):
        report.update_readme(readme, results)
    assert readme.read_text() == "no marks"
