from typing import Any

import numpy as np
import pytest

from jaxviz import figures

# Any: matplotlib annotates what artists hold too widely to be indexed
confusion_counts: Any = figures.confusion_counts
confusion_matrix: Any = figures.confusion_matrix


def test_counts_by_a_loop():
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 5, 200), generator.integers(0, 5, 200)
    expected = np.zeros((6, 6), int)
    for a, b in zip(labels, predictions, strict=True):
        expected[a, b] += 1
    np.testing.assert_array_equal(confusion_counts(labels, predictions, num_classes=6), expected)


def test_cells_show_counts_and_shares_of_the_row():
    figure = confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], class_names=["cat", "dog"])
    axes = figure.axes[0]
    cells = {
        tuple(int(c) for c in text.get_position()): text.get_text().replace("\N{NO-BREAK SPACE}", " ")
        for text in axes.texts
    }
    assert cells == {(0, 0): "2\n66.7 %", (1, 0): "1\n33.3 %", (1, 1): "1\n100 %"}
    assert axes.get_title() == "accuracy 75.0 % (3 of 4)"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "label")


def test_a_row_that_is_nearly_right_does_not_say_100():
    labels, predictions = np.zeros(5000, int), np.zeros(5000, int)
    predictions[0] = 1
    texts = [text.get_text() for text in confusion_matrix(labels, predictions).axes[0].texts]
    assert any("99.9" in text for text in texts)
    assert not any("100" in text for text in texts)


def test_mistakes_have_a_scale_of_their_own():
    labels = np.repeat([0, 1], 100)
    predictions = labels.copy()
    predictions[0] = 1
    colors = confusion_matrix(labels, predictions).axes[0].images[0].get_array()
    np.testing.assert_allclose(
        colors[0, 1, :3], np.array([0xD5, 0x5E, 0]) / 255, atol=1 / 255
    )  # 1 % wrong, and the worst there is
    np.testing.assert_allclose(colors[1, 1, :3], np.array([0, 0x72, 0xB2]) / 255, atol=1 / 255)


def test_a_class_without_examples_is_told():
    assert "No example with label 2." in " ".join(confusion_matrix([0, 1], [0, 2]).get_supxlabel().split())


def test_many_classes_have_no_numbers():
    assert len(confusion_matrix(np.arange(50), np.arange(50)).axes[0].texts) == 0


@pytest.mark.parametrize(
    ("labels", "predictions", "settings", "error", "words"),
    [
        ([0, 1], [0], {}, ValueError, "one shape"),
        ([0.5], [0], {}, TypeError, "integer classes, got dtype float64"),
        ([[0]], [[0]], {}, ValueError, r"shape \(n,\)"),
        ([], [], {}, TypeError, "integer classes"),
        ([3], [0], {"num_classes": 2}, ValueError, "num_classes is 2, but there is a class 3"),
        ([0], [0], {"class_names": ["a", "b"], "num_classes": 3}, ValueError, "one entry per class, 3 in all, got 2"),
        ([100], [0], {}, ValueError, "at most 100 classes can be shown, got 101"),
    ],
)
def test_bad_input_is_named(labels, predictions, settings, error, words):
    with pytest.raises(error, match=words):
        confusion_matrix(labels, predictions, **settings)


@pytest.mark.parametrize("label", [10**9, 2**40])
def test_too_many_classes_to_count(label):
    with pytest.raises(ValueError, match=r"^confusion_counts: at most 30,000 classes can be counted, got"):
        confusion_counts([label], [0])
