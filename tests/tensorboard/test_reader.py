import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

from jaxviz.tensorboard import Log, Run, Writer, read
from jaxviz.tensorboard.record import frame


def test_several_runs_are_named_as_tensorboard_names_them(tmp_path):
    for name in (".", "train", "sweep/seed 1"):
        with Writer(tmp_path / name) as writer:
            writer.scalar("loss", 1, 0)
    log = read(str(tmp_path))
    assert isinstance(log, Log)
    assert sorted(log) == [".", "sweep/seed 1", "train"]
    assert isinstance(log["train"], Run)
    assert log["sweep/seed 1"].name == "sweep/seed 1"
    assert list(log["train"]) == ["loss"]
    with pytest.raises(KeyError, match="no run 'tran'; nearest of 3: 'train'"):
        log["tran"]
    with pytest.raises(KeyError, match="no tag 'los'; nearest of 1: 'loss'"):
        log["train"]["los"]


def test_one_run_below_is_asked_directly(tmp_path):
    with Writer(tmp_path / "only") as writer:
        writer.scalar("loss", 1, 0)
    log = read(tmp_path)
    assert "loss" in log
    assert "only" in log
    assert "none" not in log
    assert log["loss"] is log["only"]["loss"]
    assert repr(log) == "Log of 1 run\n  only: 1 tag"
    assert repr(log["loss"]) == "Series(scalar, 1 step, last step 0)"


def test_a_log_in_the_form_of_tensorflow_1_is_read(tmp_path):
    histogram = HistogramProto(min=0, max=2, num=3, bucket_limit=[1, 2], bucket=[1, 2])
    values = [Summary.Value(tag="loss", simple_value=0.5), Summary.Value(tag="h", histo=histogram)]
    events = [Event(file_version="brain.Event:2"), Event(step=4, wall_time=9, summary=Summary(value=values))]
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"".join(frame(e.SerializeToString()) for e in events))
    log = read(tmp_path)
    assert log["loss"].values.tolist() == [0.5]
    assert log["loss"].steps.tolist() == [4]
    assert log["loss"].wall_times.tolist() == [9]
    np.testing.assert_array_equal(log["h"].values[0], [[0, 1, 1], [1, 2, 2]])


def test_a_log_that_is_being_written_is_read_up_to_now(tmp_path):
    with Writer(tmp_path) as writer:
        for step in range(3):
            writer.scalar("a", step, step)
            assert read(tmp_path)["a"].values.tolist() == list(range(step + 1))
