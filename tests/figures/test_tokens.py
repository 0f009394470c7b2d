import html.parser
import re
from typing import Any

import numpy as np
import pytest

from jaxviz import figures
from jaxviz.figures import palette
from jaxviz.figures.sentences import kind_of, spelled
from jaxviz.figures.tokens import Html

# Any: matplotlib annotates what artists hold too widely to be indexed
token_text: Any = figures.token_text
token_html: Any = figures.token_html


def joined(tokens, kind="auto"):
    kind = kind_of(tokens) if kind == "auto" else kind
    return "".join(" " * piece.space + piece.text for piece in spelled(tokens, kind))


@pytest.mark.parametrize(
    ("tokens", "kind", "text"),
    [
        (["it", "'s", "n't", "bad", ",", "(", "really", ")", "!"], "auto", "it'sn't bad, (really)!"),
        (["[CLS]", "un", "##believ", "##able", "!"], "auto", "[CLS] unbelievable!"),
        (["▁not", "▁b", "ad"], "auto", "not bad"),
        (["not", "Ġb", "ad", "Ċ", "Ġso"], "auto", "not bad↵ so"),
        (["not</w>", "b", "ad</w>", "!</w>"], "auto", "not bad !"),
        (["n", "o", " ", "w"], "characters", "no␣w"),
        (["a#", "##b"], "words", "a# ##b"),
        (["", "\n"], "auto", "␣ ↵"),
    ],
)
def test_pieces_make_words(tokens, kind, text):
    assert joined(tokens, kind) == text


def rectangles(figure):
    return [np.array(patch.get_facecolor()[:3]) for patch in figure.axes[0].patches]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_colors_are_those_of_one_scale():
    figure = token_text([["a", "b"], ["c", "d"]], [[2.0, -1.0], [0.0, np.nan]])
    expected = palette.paint(np.array([1.0, 0.25, 0.5, np.nan]), "diverging")
    np.testing.assert_allclose(rectangles(figure), expected, atol=1e-9)
    assert texts(figure)[:4] == ["a", "b", "c", "d"]
    assert "1 NaN of 4 values, shown in yellow." in texts(figure)
    alone = token_text(["a"], [1.0], limit=2.0)
    np.testing.assert_allclose(rectangles(alone), palette.paint(np.array([0.75]), "diverging"), atol=1e-9)


def test_attribution_at_the_embedding_is_summed():
    figure = token_text(["a", "b"], [[1.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(rectangles(figure), palette.paint(np.array([1.0, 0.25]), "diverging"), atol=1e-9)


def test_lines_are_wrapped_and_words_kept_whole():
    tokens = ["extra", "##ordinary"] * 12
    figure = token_text(tokens, np.ones(24))
    boxes = [patch.get_bbox() for patch in figure.axes[0].patches]
    rows = [round(box.y0, 3) for box in boxes]
    assert len(set(rows)) > 1
    assert rows[::2] == rows[1::2]  # both pieces of a word on one line
    for box, after in zip(boxes[::2], boxes[1::2], strict=True):
        assert after.x0 == pytest.approx(box.x1)  # and without a gap
    assert max(box.x1 for box in boxes) <= figure.get_figwidth()
    long = token_text(["x" * 40, "##" + "y" * 40, "##" + "z" * 60], [1, 1, 1])
    assert len({round(patch.get_bbox().y0, 3) for patch in long.axes[0].patches}) > 1


class Reader(html.parser.HTMLParser):
    """What a browser would see: tags and texts; unbalanced tags fail."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "wbr":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_html_is_escaped_and_readable():
    tokens = ["<script>", "&amp;", '"', "fine"]
    found = token_html(tokens, [1.0, -1.0, 0.2, np.nan], titles=["<i>"], title="a & b", correct=[False])
    assert isinstance(found, Html)
    assert found._repr_html_() == found
    page = Reader(found)
    assert {tag for tag, _ in page.tags} == {"div", "span"}
    spans = [attributes for tag, attributes in page.tags if tag == "span" and "title" in attributes]
    assert [span["title"] for span in spans] == ["1", "−1", "0.2", "NaN"]
    assert [word for word in page.words if word in tokens] == tokens
    assert "✗ <i>" in page.words
    assert "a & b" in page.words
    assert any("1 NaN of 4 values" in word and "orange raises the score" in word for word in page.words)
    for span in spans:
        background, ink = re.findall("#[0-9A-F]{6}", span["style"])
        light, dark = sorted(
            (float(palette.luminance(palette.rgb(color))) for color in (background, ink)), reverse=True
        )
        assert (light + 0.05) / (dark + 0.05) >= 4.0


def test_html_keeps_pieces_together_and_words_apart():
    plain = re.sub("<(?!wbr)[^>]*>", "", token_html(["un", "##kind", "words"], [1, 1, 1]))
    assert plain.startswith("un<wbr>kind words")


@pytest.mark.parametrize("call", [token_text, token_html])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("not bad", [1.0]), TypeError, r"got the string 'not bad'; tokens.split\(\)\?"),
        (([], []), ValueError, "at least 1"),
        (([3, 4], [1.0, 2.0]), TypeError, "tokens must be strings, got 3; decode the token ids first"),
        ((["a", 3], [1.0, 2.0]), TypeError, "tokens must be strings, got 3; decode the token ids first"),
        ((["a"], [1.0, 2.0]), ValueError, r"got \(2,\); cut off the padding: attribution\[:1\]"),
        (([["a"]] * 25, [[1.0]] * 25), ValueError, "1 to 24, got 25 and 25"),
        (([["a"]], [[1.0], [2.0]]), ValueError, "got 1 and 2"),
    ],
)
def test_bad_input_is_named(call, arguments, error, words):
    with pytest.raises(error, match=words):
        call(*arguments)


@pytest.mark.parametrize(
    "settings",
    [{"pieces": "bpe"}, {"sign": "both"}, {"channels": "max"}, {"correct": [True, False]}, {"titles": ["a", "b"]}],
)
def test_bad_settings_are_named(settings):
    for call in (token_text, token_html):
        with pytest.raises(ValueError, match=next(iter(settings))):
            call(["a"], [1.0], **settings)
