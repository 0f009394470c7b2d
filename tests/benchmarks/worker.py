"""A program in another process, perhaps of another Python, that does what it is told line by line."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# All sides run on the CPU with the same cores; TensorFlow's start-up notes say nothing about a timing.
QUIET = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}


def environment(**more: str) -> dict[str, str]:
    """Returns the environment variables of a timed process; Keras keeps its settings in a folder that is not the user's."""
    home = str(Path(tempfile.gettempdir()) / "jaxviz-benchmarks-keras")
    return {**os.environ, **QUIET, "KERAS_HOME": home, **more}


class Worker:
    """A running peer program (see `peers/protocol.py`): answers each request with JSON.

    Args:
        python: its interpreter.
        script: its program, relative to this folder.
        arguments: of its command line.
        variables: further environment variables.
    """

    def __init__(self, python: Path | str, script: str, *arguments: str, **variables: str) -> None:
        self.name = f"{script} {' '.join(arguments)}".strip()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the worker)
        self._process = subprocess.Popen(
            [str(python), str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(**variables),
        )

    def ask(self, request: str, **values: Any) -> Any:
        """Returns the answer to one request; raises with what the program said if it broke off."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        if self._process.poll() is None:
            self._process.stdin.write(json.dumps({"request": request, **values}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{self.name} ended with status {status} at {request!r}:\n{self._errors.read()[-2000:]}")
        return json.loads(answer)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def whole_process(command: Sequence[str | Path], **variables: str) -> float:
    """Returns the wall time of a program from start to end; raises with what it said if it failed."""
    start = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment(**variables), check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds
