"""Each kind of value: what is written is what is read, and TensorBoard's own Python loader sees it too."""

import re

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from jaxviz.tensorboard import Writer, read


@pytest.fixture
def writer(tmp_path):
    with Writer(tmp_path) as writer:
        yield writer


def test_scalars_of_every_source(writer):
    values = [
        1,
        2.5,
        True,
        np.float64(3.5),
        jnp.float32(4.5),
        jnp.asarray(5.5, jnp.bfloat16),
        np.int8(-6),
        np.nan,
        -np.inf,
    ]
    for step, value in enumerate(values):
        writer.scalar("a", value, step)
    series = read(writer.logdir)["a"]
    np.testing.assert_array_equal(series.values, [1, 2.5, 1, 3.5, 4.5, 5.5, -6, np.nan, -np.inf])
    np.testing.assert_array_equal(series.steps, np.arange(9))
    assert series.kind == "scalar"
    assert series.values.dtype == np.float32
    assert (np.diff(series.wall_times) >= 0).all()


def test_steps_may_be_numpy_and_jax_integers(writer):
    for step in (np.int64(3), jnp.asarray(4)):
        writer.scalar("a", 0, step)
    assert read(writer.logdir)["a"].steps.tolist() == [3, 4]


def test_scalars_of_one_step_are_one_event(writer):
    writer.scalars({"a": 1, "b": jnp.float32(2)}, 7)
    loaded = EventAccumulator(str(writer.logdir)).Reload()
    (a,), (b,) = loaded.Tensors("a"), loaded.Tensors("b")
    assert a.wall_time == b.wall_time
    assert a.step == b.step == 7
    writer.scalars({}, 8)


def test_histogram_counts_what_is_there(writer):
    values = np.random.default_rng(0).normal(size=(30, 40))
    writer.histogram("h", jnp.asarray(values), 0, bins=20)
    (table,) = read(writer.logdir)["h"].values
    counts, edges = np.histogram(values.astype(np.float32), 20)
    np.testing.assert_array_equal(table[:, 2], counts)
    np.testing.assert_allclose(table[:, 0], edges[:-1], atol=1e-6)
    np.testing.assert_allclose(table[:, 1], edges[1:], atol=1e-6)


def test_histogram_bins_the_finite_and_counts_the_rest(writer):
    writer.histogram("h", [0.0, 1.0, 2.0, np.nan, np.nan, np.inf, -np.inf, -np.inf, 1e300], 0, bins=2)
    log = read(writer.logdir)
    np.testing.assert_array_equal(log["h"].values[0], [[0, 1, 1], [1, 2, 2]])
    assert log["h/nan"].values.tolist() == [2]
    assert log["h/inf"].values.tolist() == [4]  # 1e300 is infinite in float32


def test_histogram_of_nothing_finite(writer):
    writer.histogram("h", np.full(5, np.nan), 0)
    log = read(writer.logdir)
    assert log["h"].values[0][:, 2].sum() == 0
    assert log["h/nan"].values.tolist() == [5]


@pytest.mark.parametrize("constant", [0.0, 1.0, -1e-12, 3e30, 1e8])
def test_histogram_of_a_constant_has_a_narrow_range_around_it(writer, constant):
    writer.histogram("h", np.full(10, constant), 0)
    (table,) = read(writer.logdir)["h"].values
    assert np.isfinite(table).all()
    assert (np.diff(table[:, 0]) > 0).all()
    full = np.flatnonzero(table[:, 2])
    assert table[full, 2].tolist() == [10]
    slack = abs(np.float32(constant)) * 0.0101 if constant else 1e-3
    assert abs(table[0, 0] - constant) <= slack
    assert table[full[0], 0] - slack <= constant <= table[full[0], 1] + slack


def test_histogram_over_the_whole_range_of_float32(writer):
    largest = np.finfo(np.float32).max
    writer.histogram("h", np.array([-largest, 0, largest], np.float32), 0, bins=3)
    assert read(writer.logdir)["h"].values[0][:, 2].tolist() == [1, 1, 1]


def test_histogram_of_bfloat16_and_integers(writer):
    writer.histogram("h", jnp.asarray([0, 1, 1, 2], jnp.bfloat16), 0, bins=2)
    writer.histogram("h", np.array([0, 1, 1, 2], np.int32), 1, bins=2)
    for table in read(writer.logdir)["h"].values:
        np.testing.assert_array_equal(table, [[0, 1, 1], [1, 2, 3]])


def test_histogram_counted_elsewhere(writer):
    writer.histogram_counts("h", jnp.asarray([1, 2]), jnp.asarray([0.0, 0.5, 2.0]), 0)
    writer.histogram_counts("h", [0, 7], [3.0, 3.0, 3.0], 1)
    first, second = read(writer.logdir)["h"].values
    np.testing.assert_array_equal(first, [[0, 0.5, 1], [0.5, 2, 2]])
    assert second[:, 2].tolist() == [0, 7]
    assert second[0, 0] < 3 < second[-1, 1]


def test_histograms_of_one_event(writer, tmp_path_factory):
    tables = {"a": ([1, 2], [0, 1, 2]), "b": ([5], [3, 4]), "c": ([0, 7], [3.0, 3.0, 3.0])}
    writer.histograms(tables, 4)
    writer.histograms(tables, 5)
    one_by_one = Writer(tmp_path_factory.mktemp("apart"))
    for tag, table in tables.items():
        one_by_one.histogram_counts(tag, *table, 4)
    together, apart = read(writer.logdir), read(one_by_one.logdir)
    for tag in tables:
        assert together[tag].steps.tolist() == [4, 5]
        np.testing.assert_array_equal(together[tag].values[0], apart[tag].values[0])
    with pytest.raises(ValueError, match="must not decrease"):
        writer.histograms({"a": ([1, 1], [0, 1, 2]), "b": ([1, 1], [0, 2, 1])}, 6)
    assert read(writer.logdir)["a"].steps.tolist() == [4, 5]  # nothing is half written


@pytest.mark.parametrize(
    ("shape", "read_as"),
    [((5, 7), (1, 5, 7, 1)), ((5, 7, 3), (1, 5, 7, 3)), ((5, 7, 1), (1, 5, 7, 1)), ((4, 5, 7, 4), (4, 5, 7, 4))],
)
def test_images_come_back_pixel_by_pixel(writer, shape, read_as):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    writer.image("i", pixels, 0)
    writer.image("i", jnp.asarray(pixels / np.float32(255)), 1)
    for found in read(writer.logdir)["i"].values:
        np.testing.assert_array_equal(found, pixels.reshape(read_as))


def test_masks_are_images(writer):
    writer.image("i", np.eye(3, dtype=bool), 0)
    np.testing.assert_array_equal(read(writer.logdir)["i"].values[0][0, :, :, 0], np.eye(3) * 255)


def test_pixels_that_are_not_finite_are_yellow_and_counted(writer):
    image = np.full((2, 2), 0.5)
    image[0, 1], image[1, 0] = np.nan, np.inf
    writer.image("i", image, 3)
    log = read(writer.logdir)
    (found,) = log["i"].values[0]
    assert found[0, 0].tolist() == [128, 128, 128]
    assert found[0, 1].tolist() == found[1, 0].tolist() == [240, 228, 66]
    assert (log["i/nan"].values[0], log["i/inf"].values[0]) == (1, 1)


def test_figure_is_an_image_of_its_size_and_is_closed(writer):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(3, 2), dpi=50)
    axes.plot([1, 2])
    writer.figure("f", figure, 0)
    assert not plt.get_fignums()
    plain = matplotlib.figure.Figure(figsize=(3, 2), dpi=50)
    writer.figure("f", plain, 1)
    first, second = read(writer.logdir)["f"].values
    assert first.shape == second.shape == (1, 100, 150, 4)
    assert first[..., :3].min() < 50  # something is drawn
    assert second[..., :3].min() == 255
    kept = plt.figure()
    writer.figure("f", kept, 2, close=False)
    assert plt.get_fignums()
    plt.close(kept)


def test_text(writer):
    writer.text("t", "# Größe\n\n*a*", 0)
    writer.text("t", ["one", "two"], 1)
    assert read(writer.logdir)["t"].values == ["# Größe\n\n*a*", ["one", "two"]]


def test_audio(writer):
    wave = np.sin(np.arange(200) / 5).astype(np.float32)
    writer.audio("a", wave, 0, sample_rate=8000)
    writer.audio("a", jnp.stack([jnp.asarray(wave), -jnp.asarray(wave)])[..., None], 1, sample_rate=8000)
    writer.audio("a", np.array([[-32767, 32767]], np.int16), 2, sample_rate=100)
    one, two, three = read(writer.logdir)["a"].values
    np.testing.assert_allclose(one.samples, wave[None, :, None], atol=2e-5)
    np.testing.assert_allclose(two.samples[1], -wave[:, None], atol=2e-5)
    np.testing.assert_array_equal(three.samples, [[[-1, 1]]])
    assert (one.sample_rate, three.sample_rate) == (8000, 100)


def test_pr_curve_counts_by_definition(writer):
    rng = np.random.default_rng(0)
    labels, scores = rng.random(300) < 0.3, np.round(rng.random(300), 2)
    scores[:2] = 0, 1
    writer.pr_curve("p", jnp.asarray(labels), scores, 0, thresholds=11)
    (table,) = read(writer.logdir)["p"].values
    for at, (tp, fp, tn, fn, precision, recall) in zip(np.linspace(0, 1, 11), table.T, strict=True):
        found = scores >= at
        assert (tp, fp) == ((found & labels).sum(), (found & ~labels).sum())
        assert (tn, fn) == ((~found & ~labels).sum(), (~found & labels).sum())
        assert precision == pytest.approx(tp / max(tp + fp, 1))
        assert recall == pytest.approx(tp / (tp + fn))


def test_hparams_and_the_end_of_the_run(tmp_path):
    values = {"rate": 1e-3, "seed": np.int32(3), "norm": True, "name": "adam", "widths": (4, 2), "decay": None}
    with Writer(tmp_path / "good") as writer:
        writer.hparams(values | {"scale": jnp.float32(0.5)}, metrics={"accuracy": 0.75}, group="g")
        assert read(tmp_path / "good")["."].status is None
    writer = Writer(tmp_path / "bad")
    writer.hparams(values)
    with pytest.raises(KeyError), writer:
        raise KeyError
    log = read(tmp_path)
    assert log["good"].status == "success"
    assert log["bad"].status == "failure"
    assert log["good"].hparams == values | {"seed": 3.0, "widths": "(4, 2)", "decay": "None", "scale": 0.5}
    assert log["good"]["accuracy"].values.tolist() == [0.75]


def test_layout(writer):
    margin = {"value": "m", "lower": "low", "upper": "high"}
    writer.layout({"c": {"exact": ["a.b", "c"], "pattern": [re.compile("loss/.*")], "margin": margin}})
    charts = read(writer.logdir)["."].layout["c"]
    assert charts == {"exact": [r"^a\.b$", "^c$"], "pattern": ["loss/.*"], "margin": margin}


def test_embedding(writer):
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6), np.uint8)
    writer.embedding(
        "a b", jnp.asarray(vectors), metadata={"x": range(5), "y": ["p\tq", "", "r", "s", "t"]}, images=images
    )
    writer.embedding("a_b", vectors[:2], metadata=np.array([7, 8]))
    writer.embedding("a_b", vectors[:3])
    found = read(writer.logdir)["."].embeddings
    np.testing.assert_array_equal(found["a b"].vectors, vectors)
    np.testing.assert_array_equal(found["a b"].images, images[..., None])
    assert found["a b"].metadata == {"x": list("01234"), "y": ["p q", "-", "r", "s", "t"]}
    assert found["a_b"].vectors.shape == (3, 3)
    assert found["a_b"].metadata == {}


def test_metadata_stand_with_a_tags_first_value_only(writer):
    from tensorboard.compat.proto.event_pb2 import Event

    from jaxviz.tensorboard.record import records

    for step in range(3):
        writer.scalar("a", step, step)
    version, session, *events = [Event.FromString(data) for data in records(writer._file.path)]
    assert version.file_version == "brain.Event:2"
    assert session.session_log.status == 1
    assert [event.summary.value[0].HasField("metadata") for event in events] == [True, False, False]
