"""Hyperparameters of a run: one event when it starts, one when it ends, and one that says which metrics matter."""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from jaxviz.checks import check_text, given
from jaxviz.tensorboard.summaries import Entry, metadata, numbers

EXPERIMENT_TAG = "_hparams_/experiment"
START_TAG = "_hparams_/session_start_info"
END_TAG = "_hparams_/session_end_info"

_TYPES = {
    "bool_value": api_pb2.DATA_TYPE_BOOL,
    "number_value": api_pb2.DATA_TYPE_FLOAT64,
    "string_value": api_pb2.DATA_TYPE_STRING,
}


def start(where: str, values: Mapping[str, Any], group: str) -> Entry:
    """Returns the entry that opens the run: its hyperparameters."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{where}: values must be a mapping of names to values, got {type(values).__name__}")
    info = plugin_data_pb2.SessionStartInfo(group_name=group, start_time_secs=time.time())
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"{where}: names of hyperparameters must be strings, not empty, got {given(name)}")
        check_text(where, "the name of a hyperparameter", name)
        plain = _plain(where, name, value)
        field = (
            "bool_value" if isinstance(plain, bool) else "string_value" if isinstance(plain, str) else "number_value"
        )
        setattr(info.hparams[name], field, plain)
    return _entry(START_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def end(*, success: bool) -> Entry:
    """Returns the entry that closes the run: how it ended."""
    status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _entry(END_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))


def experiment(start: Entry, metrics: Iterable[str]) -> Entry:
    """Returns the entry that makes the tags `metrics` the columns of results; without one TensorBoard takes all scalars."""
    listed = api_pb2.Experiment(metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics])
    for name, value in sorted(parse(start.metadata.plugin_data.content).session_start_info.hparams.items()):
        listed.hparam_infos.add(name=name, type=_TYPES[value.WhichOneof("kind")])
    return _entry(EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=listed))


def parse(content: bytes) -> plugin_data_pb2.HParamsPluginData:
    """Returns what the metadata of one of the two events say."""
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def _entry(tag: str, data: plugin_data_pb2.HParamsPluginData) -> Entry:
    # The plugin reads the metadata only; the value is there because every tag must have one.
    return Entry(
        tag, numbers(np.zeros(0)), metadata("hparams", summary_pb2.DATA_CLASS_TENSOR, data.SerializeToString())
    )


def _plain(where: str, name: str, value: Any) -> bool | float | str:
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ValueError(f"{where}: the value of {name!r} is too large for a float; give it as a string")
    if isinstance(value, (bool, int, float)):
        return value
    if value is None or isinstance(value, (str, list, tuple)):
        return check_text(where, f"the value of {name!r}", str(value))
    if hasattr(value, "dtype") and getattr(value, "shape", None) == ():
        number = np.asarray(value)
        if number.dtype.kind == "b":
            return bool(number)
        if number.dtype.kind in "iufV":
            return float(number)
    raise TypeError(
        f"{where}: the value of {name!r} must be a bool, number, string, None, list or tuple, got {given(value)}; str(...) or "
        "getattr(..., '__name__') makes a string of anything"
    )
