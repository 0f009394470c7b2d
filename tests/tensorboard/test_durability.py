"""What was logged stays readable: killed processes, torn and damaged files, resumed runs, threads, forks, full disks."""

import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from jaxviz.tensorboard import Writer, read


def python(program, *arguments, **settings):
    """Runs a program in a process of its own, warnings being errors, and returns what it printed."""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_records_survive_sigkill(tmp_path):
    program = """
import sys, itertools, numpy as np
from jaxviz.tensorboard import Writer
writer = Writer(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
for step in itertools.count():
    writer.scalar("a", step, step)
    writer.image("i", noise, step)
    print(step, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 99:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split("\n")
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    acknowledged = 100 + sum(line.isdigit() for line in rest[:-1])
    log = read(tmp_path)
    for series in (log["a"], log["i"]):
        assert acknowledged <= len(series) <= acknowledged + 1
        np.testing.assert_array_equal(series.steps, np.arange(len(series)))
    assert len(log["i"].values) == len(log["i"])


def test_a_record_cut_anywhere_costs_that_record_only(tmp_path):
    with Writer(tmp_path) as writer:
        writer.scalar("a", 1, 0)
        whole = writer._file.path.stat().st_size
        writer.scalar("a", 2, 1)
    path = writer._file.path
    content = path.read_bytes()
    for size in range(whole, len(content)):
        path.write_bytes(content[:size])
        assert read(tmp_path)["a"].values.tolist() == [1]
    path.write_bytes(content)
    assert read(tmp_path)["a"].values.tolist() == [1, 2]


def test_damage_ends_the_file_with_a_warning(tmp_path):
    with Writer(tmp_path) as writer:
        writer.scalar("a", 1, 0)
        whole = writer._file.path.stat().st_size
        writer.scalar("a", 2, 1)
    path = writer._file.path
    content = bytearray(path.read_bytes())
    for at in (whole, whole + 9, whole + 14, len(content) - 1):  # length, its checksum, data, its checksum
        content[at] ^= 1
        path.write_bytes(content)
        content[at] ^= 1
        with pytest.warns(UserWarning, match=f"damaged at byte {whole}; the last {len(content) - whole} bytes"):
            log = read(tmp_path)
        assert log["a"].values.tolist() == [1]


def resumed(logdir, start_step):
    first = Writer(logdir)
    for step in range(10):
        first.scalars({"a": step, "only before": 0}, step)
    with first._file.path.open("ab") as file:
        file.write(b"torn")  # as a killed process leaves it
    with Writer(logdir, start_step=start_step) as second:
        for step in range(6, 13):
            second.scalars({"a": -step, "only after": 0}, step)
    first.close()


def test_a_resumed_run_continues_without_a_zigzag(tmp_path):
    resumed(tmp_path, 6)
    log = read(tmp_path)
    assert log["a"].steps.tolist() == list(range(13))
    assert log["a"].values.tolist() == [*range(6), *range(-6, -13, -1)]
    assert log["only before"].steps.tolist() == list(range(6))
    loaded = EventAccumulator(str(tmp_path)).Reload()  # what the Python loader of TensorBoard draws
    assert [event.step for event in loaded.Tensors("a")] == list(range(13))


def test_start_step_none_supersedes_nothing(tmp_path):
    resumed(tmp_path, None)
    assert read(tmp_path)["a"].steps.tolist() == [*range(10), *range(6, 13)]
    with Writer(tmp_path) as writer:  # and 0 supersedes all
        writer.scalar("a", 5, 0)
    assert dict(read(tmp_path)["."]).keys() == {"a"}


def test_writers_of_the_same_moment_have_files_of_their_own_in_order(tmp_path):
    for step in range(20):
        with Writer(tmp_path, start_step=step) as writer:
            writer.scalar("a", step, step)
    assert len(list(tmp_path.iterdir())) == 20
    assert read(tmp_path)["a"].values.tolist() == list(range(20))


def test_threads(tmp_path):
    with Writer(tmp_path) as writer:

        def work(number):
            for step in range(1000):
                writer.scalars({f"own/{number}": step, "shared": number}, step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    log = read(tmp_path)
    for number in range(8):
        np.testing.assert_array_equal(log[f"own/{number}"].values, np.arange(1000))
    assert np.bincount(log["shared"].values.astype(int)).tolist() == [1000] * 8


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a POSIX system")
def test_a_fork_is_refused_and_leaves_the_parents_log_alone(tmp_path):
    program = """
import os, sys
from jaxviz.tensorboard import Writer, read
writer = Writer(sys.argv[1])
writer.hparams({"a": 1})
writer.scalar("a", 0, 0)
child = os.fork()
if child == 0:
    try:
        writer.scalar("a", -1, 1)
    except RuntimeError as error:
        assert "open a Writer of its own" in str(error), error
        writer.close()
        with Writer(sys.argv[1] + "/child") as own:
            own.scalar("a", 7, 0)
        sys.exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
writer.scalar("a", 1, 1)
writer.close()
"""
    python(program, tmp_path)
    log = read(tmp_path)
    assert log["."]["a"].values.tolist() == [0, 1]
    assert log["."].status == "success"
    assert log["child"]["a"].values.tolist() == [7]


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a POSIX system")
def test_a_full_disk_raises_and_logging_goes_on_once_there_is_room(tmp_path):
    program = """
import resource, sys, numpy as np
from jaxviz.tensorboard import Writer
with Writer(sys.argv[1]) as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    writer.scalar("a", 0, 0)
    before = writer._file.path.stat().st_size
    try:
        writer.image("i", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8), 1)
    except OSError as error:
        print(error)
    assert writer._file.path.stat().st_size == before
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    writer.image("i", np.zeros((4, 4), np.uint8), 2)
    writer.scalar("a", 3, 3)
"""
    assert "everything logged before is kept: File too large" in python(program, tmp_path)
    log = read(tmp_path)
    assert log["a"].values.tolist() == [0, 3]
    assert log["i"].steps.tolist() == [2]


def test_a_writer_that_nobody_closed(tmp_path):
    python("import sys; from jaxviz.tensorboard import Writer; w = Writer(sys.argv[1]); w.scalar('a', 1, 0)", tmp_path)
    assert read(tmp_path)["a"].values.tolist() == [1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Writer(tmp_path / "dropped").scalar("a", 2, 0)
    assert read(tmp_path / "dropped")["a"].values.tolist() == [2]


def test_neither_tensorflow_nor_jax_is_imported(tmp_path):
    (tmp_path / "path" / "tensorflow").mkdir(parents=True)
    (tmp_path / "path" / "tensorflow" / "__init__.py").write_text("raise SystemExit('tensorflow was imported')")
    program = """
import sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from jaxviz.tensorboard import Writer, read
with Writer(sys.argv[1]) as writer:
    writer.hparams({"a": 1})
    writer.layout({"a": {"b": ["c"]}})
    writer.scalar("scalar", 1, 0)
    writer.histogram("histogram", [1, 2], 0)
    writer.image("image", np.zeros((4, 4)), 0)
    writer.text("text", "a", 0)
    writer.audio("audio", np.zeros(9), 0, sample_rate=9)
    writer.pr_curve("pr_curve", [0, 1], [0.1, 0.9], 0)
    writer.embedding("embedding", np.eye(2))
for series in read(sys.argv[1])["."].values():
    assert len(series.values) == 1
import importlib.util
assert importlib.util.find_spec("tensorflow").origin.startswith(sys.argv[2])
print([name for name in ("tensorflow", "tensorboard.compat.notf", "jax", "matplotlib") if name in sys.modules])
"""
    assert python(program, tmp_path / "log", tmp_path / "path").strip() == "[]"
