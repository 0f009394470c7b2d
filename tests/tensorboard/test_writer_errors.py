"""Bad input is refused with a message that says what was wrong, and leaves the log as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.tensorboard import Writer, read


@pytest.fixture
def writer(tmp_path):
    with Writer(tmp_path) as writer:
        yield writer


BAD_TAGS = [
    ("_hparams_/x", ValueError),
    ("custom_scalars__config__", ValueError),
    ("", ValueError),
    (" a", ValueError),
    ("a\n", ValueError),
    (None, TypeError),
    (3, TypeError),
]


@pytest.mark.parametrize(("tag", "error"), BAD_TAGS)
def test_bad_tags(writer, tag, error):
    for log in (
        lambda: writer.scalar(tag, 1, 0),
        lambda: writer.scalars({"fine": 1, tag: 1}, 0),
        lambda: writer.histogram(tag, [1], 0),
        lambda: writer.histogram_counts(tag, [1], [0, 1], 0),
        lambda: writer.image(tag, np.zeros((2, 2)), 0),
        lambda: writer.text(tag, "a", 0),
        lambda: writer.audio(tag, np.zeros(3), 0, sample_rate=8),
        lambda: writer.pr_curve(tag, [0, 1], [0.0, 1.0], 0),
        lambda: writer.embedding(tag, np.zeros((2, 2))),
    ):
        with pytest.raises(error, match=r"Writer\.\w+: tag"):
            log()
    assert dict(read(writer.logdir)["."]) == {}


@pytest.mark.parametrize(
    ("step", "error"), [(-1, ValueError), (2**63, ValueError), (1.0, TypeError), (True, TypeError), (None, TypeError)]
)
def test_bad_steps(writer, step, error):
    with pytest.raises(error, match=r"Writer\.scalar: step must"):
        writer.scalar("a", 1, step)
    with pytest.raises(error, match=r"Writer\.image: step must"):
        writer.image("a", np.zeros((2, 2)), step)


CASES = {
    "two numbers": (lambda w: w.scalar("a", np.zeros(2), 0), ValueError, r"shape \(\), got shape \(2,\); histograms"),
    "one in a list": (lambda w: w.scalar("a", [1.0], 0), ValueError, r"pass value\[0\]"),
    "word": (lambda w: w.scalar("a", "x", 0), TypeError, "real numbers, got 'x' of type str"),
    "complex": (lambda w: w.scalar("a", 1j, 0), TypeError, "real numbers"),
    "nothing": (lambda w: w.scalar("a", None, 0), TypeError, "got None"),
    "of many": (lambda w: w.scalars({"a": 1, "b": "x"}, 0), TypeError, r"Writer\.scalars: 'b' must"),
    "no mapping": (lambda w: w.scalars([1], 0), TypeError, "mapping"),
    "empty histogram": (lambda w: w.histogram("a", [], 0), ValueError, "at least one number"),
    "no bins": (lambda w: w.histogram("a", [1], 0, bins=0), ValueError, "bins must be 1 to 65536, got 0"),
    "too many bins": (lambda w: w.histogram("a", [1], 0, bins=10**9), ValueError, "bins must be 1 to 65536"),
    "no tables": (lambda w: w.histograms(None, 0), TypeError, r"tags to \(counts, edges\), got None"),
    "a table": (lambda w: w.histograms({"a": 3}, 0), TypeError, r"tags to \(counts, edges\), got {'a': 3}"),
    "huge": (lambda w: w.scalar("a", 10**400, 0), TypeError, "got 1000.*… of type int"),
    "edges": (lambda w: w.histogram_counts("a", [1], [0], 0), ValueError, r"shapes \(1,\) and \(1,\)"),
    "falling edges": (lambda w: w.histogram_counts("a", [1, 1], [0, 2, 1], 0), ValueError, "2.0 before 1.0 at index 1"),
    "NaN edges": (lambda w: w.histogram_counts("a", [1], [0, np.nan], 0), ValueError, "got nan"),
    "negative count": (lambda w: w.histogram_counts("a", [-1], [0, 1], 0), ValueError, "got -1"),
    "image stack": (lambda w: w.image("a", np.zeros((9, 8, 8)), 0), ValueError, r"images\[\.\.\., None\]"),
    "empty image": (lambda w: w.image("a", np.zeros((0, 8)), 0), ValueError, "no axis of size 0"),
    "bytes as floats": (lambda w: w.image("a", np.full((2, 2), 255.0), 0), ValueError, r"image / 255\?"),
    "signed image": (lambda w: w.image("a", -np.ones((2, 2)), 0), ValueError, r"values from -1 to -1"),
    "wide image": (lambda w: w.image("a", np.zeros((2, 2), int), 0), TypeError, "astype"),
    "figure": (lambda w: w.figure("a", np.zeros((2, 2)), 0), TypeError, "matplotlib Figure, got ndarray"),
    "text": (lambda w: w.text("a", 3, 0), TypeError, "got 3"),
    "half a character": (lambda w: w.text("a", "b\ud800", 0), ValueError, "markdown has half a character at index 1"),
    "half a label": (lambda w: w.embedding("a", np.eye(2), metadata=["\ud800", "b"]), ValueError, "metadata has half"),
    "half a value": (lambda w: w.hparams({"a": "\ud800"}), ValueError, "the value of 'a' has half a character"),
    "half a name": (lambda w: w.hparams({"\ud800": 1}), ValueError, "the name of a hyperparameter has half"),
    "half a group": (lambda w: w.hparams({"a": 1}, group="\ud800"), ValueError, "group has half a character"),
    "large value": (lambda w: w.hparams({"a": 10**400}), ValueError, "the value of 'a' is too large for a float"),
    "half a category": (lambda w: w.layout({"\ud800": {"b": ["c"]}}), ValueError, "a title of categories has half"),
    "half a chart": (lambda w: w.layout({"a": {"\ud800": ["c"]}}), ValueError, "a title of category 'a' has half"),
    "half a tag": (lambda w: w.layout({"a": {"b": ["\ud800"]}}), ValueError, "a tag of chart 'b' has half"),
    "loud": (lambda w: w.audio("a", np.full(3, 2.0), 0, sample_rate=8), ValueError, "peak of 2"),
    "NaN sound": (lambda w: w.audio("a", np.full(3, np.nan), 0, sample_rate=8), ValueError, "got 3 that are NaN"),
    "channels": (lambda w: w.audio("a", np.zeros((2, 99)), 0, sample_rate=8), ValueError, "channels come last"),
    "rate": (lambda w: w.audio("a", np.zeros(3), 0, sample_rate=0.5), TypeError, "sample_rate must be an int"),
    "high rate": (lambda w: w.audio("a", np.zeros(3), 0, sample_rate=2**40), ValueError, "sample_rate must be 1 to"),
    "logits": (lambda w: w.pr_curve("a", [0, 1], [-3.0, 3.0], 0), ValueError, r"\[0, 1\], got -3 \(2 are outside\)"),
    "NaN score": (lambda w: w.pr_curve("a", [0, 1], [np.nan, 1.0], 0), ValueError, "got nan"),
    "classes": (lambda w: w.pr_curve("a", [0, 2], [0.0, 1.0], 0), ValueError, "got 2; one curve per class"),
    "sizes": (lambda w: w.pr_curve("a", [0], [0.0, 1.0], 0), ValueError, "got 1 and 2"),
    "vectors": (lambda w: w.embedding("a", np.zeros(3)), ValueError, r"got \(3,\)"),
    "NaN vectors": (lambda w: w.embedding("a", [[0, 1], [np.nan, 1]]), ValueError, "1 of 2 rows, first in row 1"),
    "labels": (lambda w: w.embedding("a", np.eye(2), metadata=["x"]), ValueError, "'label' has 1, vectors 2"),
    "one label": (lambda w: w.embedding("a", np.eye(2), metadata="xy"), TypeError, "one label per vector"),
    "sprite": (lambda w: w.embedding("a", np.eye(2), images=np.zeros((3, 2, 2))), ValueError, "3 images, 2 vectors"),
    "large sprite": (lambda w: w.embedding("a", np.eye(9), images=np.zeros((9, 3000, 2))), ValueError, "8192"),
    "hparams": (lambda w: w.hparams({"f": print}), TypeError, "the value of 'f'"),
    "metrics": (lambda w: w.hparams({"a": 1}, metrics="loss"), TypeError, "a list of tags or a mapping"),
    "layout": (lambda w: w.layout({"c": {"chart": []}}), TypeError, "'chart'"),
    "margin": (lambda w: w.layout({"c": {"chart": {"value": "a"}}}), ValueError, "'lower'"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_values(writer, name):
    log, error, message = CASES[name]
    with pytest.raises(error, match=message) as caught:
        log(writer)
    assert str(caught.value).startswith("Writer.")
    assert dict(read(writer.logdir)["."]) == {}
    assert read(writer.logdir)["."].embeddings == {}


def test_a_traced_value_is_explained(writer):
    with pytest.raises(TypeError, match="inside jit there are no values yet"):
        jax.jit(lambda x: writer.scalar("a", x, 0))(jnp.float32(1))


def test_a_tag_holds_one_kind(writer):
    writer.scalar("a", 1, 0)
    with pytest.raises(ValueError, match="tag 'a' holds scalars already"):
        writer.histogram("a", [1, 2], 1)


def test_hparams_are_logged_once(writer):
    writer.hparams({"a": 1})
    with pytest.raises(ValueError, match="logged already"):
        writer.hparams({"a": 2})


def test_use_after_close(tmp_path):
    writer = Writer(tmp_path)
    writer.close()
    writer.close()
    writer.flush()
    assert "closed" in repr(writer)
    for log in (lambda: writer.scalar("a", 1, 0), lambda: writer.embedding("a", np.eye(2))):
        with pytest.raises(ValueError, match="is closed; open a new Writer"):
            log()


@pytest.mark.parametrize(
    ("logdir", "error"),
    [
        ("", ValueError),
        ("gs://bucket/x", ValueError),
        ("a\0b", ValueError),
        ("a\ud800", ValueError),
        (None, TypeError),
        (3, TypeError),
    ],
)
def test_bad_log_directories(logdir, error):
    with pytest.raises(error, match="Writer: logdir must be a path"):
        Writer(logdir)
    with pytest.raises(error, match="read: logdir must be a path"):
        read(logdir)


def test_columns_of_metadata_are_cells(writer):
    writer.embedding("a", np.eye(2), metadata={"a\tname": ["x", "y\n"], 3: [1, 2]})
    assert read(writer.logdir)["."].embeddings["a"].metadata == {"a name": ["x", "y"], "3": ["1", "2"]}


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "log").write_text("")
    with pytest.raises(FileExistsError, match="cannot make the log directory"):
        Writer(tmp_path / "log")
    with pytest.raises(NotADirectoryError, match="cannot make the log directory"):
        Writer(tmp_path / "log" / "run")


def test_read_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory"):
        read(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no log"):
        read(tmp_path)
