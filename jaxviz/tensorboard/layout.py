"""The layout of the Custom Scalars dashboard: which curves share a chart."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2

from jaxviz.checks import check_text, given
from jaxviz.tensorboard.summaries import Entry, metadata, strings

TAG = "custom_scalars__config__"
_MARGIN = ("value", "lower", "upper")


def entry(where: str, categories: Any) -> Entry:
    """Returns the entry for `{category: {chart: tags}}`, as `Writer.layout` describes it."""
    _check_mapping(where, "categories", categories)
    layout = layout_pb2.Layout()
    for category, charts in categories.items():
        _check_mapping(where, f"category {category!r}", charts)
        layout.category.append(
            layout_pb2.Category(title=category, chart=[_chart(where, title, tags) for title, tags in charts.items()])
        )
    content = layout.SerializeToString()
    return Entry(TAG, strings([content], ()), metadata("custom_scalars", summary_pb2.DATA_CLASS_TENSOR))


def parse(content: bytes) -> dict[str, dict[str, Any]]:
    """Returns the layout as `Writer.layout` takes it; tags come back as the regular expressions that TensorBoard uses."""
    return {
        category.title: {chart.title: _tags(chart) for chart in category.chart}
        for category in layout_pb2.Layout.FromString(content).category
    }


def _chart(where: str, title: str, tags: Any) -> layout_pb2.Chart:
    if isinstance(tags, Mapping):
        if set(tags) != set(_MARGIN):
            raise ValueError(
                f"{where}: chart {title!r} must map 'value', 'lower' and 'upper' to tags, got {sorted(tags)}"
            )
        for tag in tags.values():
            check_text(where, f"a tag of chart {title!r}", tag)
        series = layout_pb2.MarginChartContent.Series(**tags)
        return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))
    names = [tags] if isinstance(tags, (str, re.Pattern)) else tags
    if not isinstance(names, Sequence) or not names or not all(isinstance(tag, (str, re.Pattern)) for tag in names):
        raise TypeError(
            f"{where}: chart {title!r} must be a list of tags (strings, or compiled regular expressions), or a mapping with "
            f"'value', 'lower' and 'upper'; got {tags!r}"
        )
    patterns = [tag.pattern if isinstance(tag, re.Pattern) else f"^{re.escape(tag)}$" for tag in names]
    for pattern in patterns:
        check_text(where, f"a tag of chart {title!r}", pattern)
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=patterns))


def _tags(chart: layout_pb2.Chart) -> Any:
    if chart.WhichOneof("content") == "margin":
        series = chart.margin.series[0]
        return {name: getattr(series, name) for name in _MARGIN}
    return list(chart.multiline.tag)


def _check_mapping(where: str, name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) and key for key in value):
        raise TypeError(f"{where}: {name} must be a mapping of titles, not empty, got {given(value)}")
    for title in value:
        check_text(where, f"a title of {name}", title)
