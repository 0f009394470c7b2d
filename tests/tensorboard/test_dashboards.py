"""TensorBoard itself, with its default loader, shows every kind of what was logged."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest

from jaxviz.tensorboard import Writer


@pytest.fixture(scope="module")
def get(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("log")
    first = Writer(logdir / "run")
    for step in range(10):
        first.scalar("loss", 1, step)
    with Writer(logdir / "run", start_step=5) as writer:  # resumed
        writer.hparams({"rate": 0.1, "norm": True, "name": "x"}, metrics=["loss"])
        writer.layout({"category": {"chart": ["loss"]}})
        for step in range(5, 12):
            writer.scalar("loss", 2, step)
        writer.histogram("h", np.arange(100), 3)
        writer.image("i", np.zeros((2, 4, 5, 1)), 3)
        writer.text("t", "**bold**", 3)
        writer.audio("a", np.zeros(80), 3, sample_rate=8000)
        writer.pr_curve("p", [0, 1], [0.1, 0.9], 3)
        writer.embedding("e", np.eye(3), metadata=["x", "y", "z"])
    first.close()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0"]
    board = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert board.stderr is not None
    try:
        address = next(found[0] for line in board.stderr if (found := re.search(r"http://\S+/", line)))

        def get(path, body=None, **query):
            url = f"{address}data/plugin/{path}?{urllib.parse.urlencode(query)}"
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                content = answer.read()
            return json.loads(content) if content[:1] in b"[{" else content

        for _ in range(100):
            if "t" in get("text/tags").get("run", []):
                break
            time.sleep(0.1)
        yield get
    finally:
        board.terminate()
        board.stderr.close()
        board.wait(20)


def test_scalars_of_a_resumed_run(get):
    points = get("scalars/scalars", run="run", tag="loss")
    assert [(step, value) for _, step, value in points] == [(s, 1) for s in range(5)] + [(s, 2) for s in range(5, 12)]


def test_histograms_and_distributions(get):
    ((_, step, table),) = get("histograms/histograms", run="run", tag="h")
    assert step == 3
    assert sum(count for _, _, count in table) == 100
    assert len(get("distributions/distributions", run="run", tag="h")) == 1


@pytest.mark.parametrize(
    ("plugin", "tag", "one", "magic"), [("images", "i", "Image", b"\x89PNG"), ("audio", "a", "Audio", b"RIFF")]
)
def test_images_and_audio(get, plugin, tag, one, magic):
    (found,) = get(f"{plugin}/{plugin}", run="run", tag=tag, sample=0)
    assert found["step"] == 3
    query = dict(urllib.parse.parse_qsl(found["query"]))
    assert get(f"{plugin}/individual{one}", **query).startswith(magic)
    assert get(f"{plugin}/tags")["run"][tag]["samples"] == (2 if tag == "i" else 1)


def test_text(get):
    assert "<strong>bold</strong>" in get("text/text", run="run", tag="t")[0]["text"]


def test_pr_curves(get):
    ((curve,),) = get("pr_curves/pr_curves", run="run", tag="p").values()
    assert max(curve["precision"]) == max(curve["recall"]) == 1


def test_hparams(get):
    found = get("hparams/experiment", b"{}")
    assert {each["name"]: each["type"] for each in found["hparamInfos"]} == {
        "rate": "DATA_TYPE_FLOAT64",
        "norm": "DATA_TYPE_BOOL",
        "name": "DATA_TYPE_STRING",
    }
    assert [each["name"]["tag"] for each in found["metricInfos"]] == ["loss"]


def test_layout(get):
    assert get("custom_scalars/layout")["category"][0]["chart"][0]["multiline"]["tag"] == ["^loss$"]


def test_projector(get):
    assert get("projector/info", run="run")["embeddings"][0]["tensorShape"] == [3, 3]
    vectors = np.frombuffer(get("projector/tensor", run="run", name="e"), np.float32)
    np.testing.assert_array_equal(vectors.reshape(3, 3), np.eye(3))
    assert get("projector/metadata", run="run", name="e").split() == [b"x", b"y", b"z"]
