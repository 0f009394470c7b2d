"""The command line."""

import os
import signal
import subprocess
import sys
import time

import pytest

import jaxviz
from jaxviz import cli, tensorboard


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"jaxviz {jaxviz.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["demo", "--resume"], "--resume needs the --logdir"),
        (["demo", "--logdir", "{file}"], "is not a folder"),
        (["demo", "--logdir", "{full}"], "is not empty; give --resume to go on with it, or another folder"),
        (["tensorboard", "{file}"], "LOGDIR must be a folder"),
        (["tensorboard", "{full}", "--port", "70000"], "--port must be from 0 to 65535, got 70000"),
    ],
)
def test_bad_arguments_are_told(arguments, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    names = {"file": str(tmp_path / "file"), "full": str(tmp_path)}
    assert cli.main([argument.format(**names) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_default_folders_are_new_ones(tmp_path):
    assert cli._new_folder(tmp_path, "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    assert cli._new_folder(tmp_path, "demo") == tmp_path / "demo-2"


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as a signal")
def test_an_interrupted_demo_leaves_a_readable_log(tmp_path):
    # A test run in the background of a shell has this signal switched off, and its children with it.
    program = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('jaxviz', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, "demo", "--quick", "--task", "xor", "--logdir", str(tmp_path / "log")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    deadline = time.monotonic() + 120
    while not list((tmp_path / "log" / "xor").glob("pictures/*.png")):  # in the midst of it
        assert time.monotonic() < deadline
        assert demo.poll() is None
        time.sleep(0.1)
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=120)
    assert demo.returncode == 130, errors
    assert "Stopped. What was logged until now is in" in errors
    log = tensorboard.read(tmp_path / "log")
    assert "Forward pass" in str(log["xor/one_step_in_numbers"].values[0])
