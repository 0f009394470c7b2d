"""The command line: `jaxviz demo`, `jaxviz tensorboard`, `jaxviz --version`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jaxviz._version import __version__

TASKS = ("all", "xor", "mnist")
_INTERRUPTED = 130  # the shell's status for Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    return int(arguments.run(arguments))


def command() -> NoReturn:
    """The command `jaxviz`: `main`, and then the end of the process."""
    status = main()
    if status == _INTERRUPTED:
        # At once: the device's threads may still be computing for what was interrupted, and tearing the interpreter down under
        # them ends in a crash. All logs are closed by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jaxviz", description="What is my network doing, and why did it answer that?")
    parser.add_argument("--version", action="version", version=f"jaxviz {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train, watch and explain two networks on real data; about a minute")
    demo.add_argument("--task", choices=TASKS, default="all", help="which part (default: all)")
    demo.add_argument("--logdir", type=Path, help="where to write (default: a new folder under runs/)")
    demo.add_argument("--seed", type=int, default=0, help="the random seed (default: 0)")
    demo.add_argument("--quick", action="store_true", help="a smaller setting of each part, for a first look")
    demo.add_argument("--resume", action="store_true", help="go on with the interrupted demo in --logdir")
    demo.set_defaults(run=_demo)

    board = commands.add_parser(
        "tensorboard", help="open TensorBoard on a log directory, with every logged picture kept"
    )
    board.add_argument("logdir", type=Path)
    board.add_argument("--port", type=int, default=6006, help="0 picks a free one (default: 6006)")
    board.add_argument("--host", default="localhost")
    board.set_defaults(run=_tensorboard)
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    from jaxviz import demo  # jax is loaded by the commands that need it only

    if arguments.seed < 0:
        return _error(f"jaxviz demo: --seed must be 0 or more, got {arguments.seed}")
    if arguments.resume and arguments.logdir is None:
        return _error("jaxviz demo: --resume needs the --logdir of the demo to go on with")
    logdir = arguments.logdir or _new_folder(Path("runs"), "demo")
    if logdir.exists() and not logdir.is_dir():
        return _error(f"jaxviz demo: --logdir {logdir} is not a folder")
    if logdir.is_dir() and any(logdir.iterdir()) and not arguments.resume:
        return _error(f"jaxviz demo: --logdir {logdir} is not empty; give --resume to go on with it, or another folder")
    try:
        logdir.mkdir(parents=True, exist_ok=True)
        demo.run(logdir, task=arguments.task, seed=arguments.seed, quick=arguments.quick)
    except OSError as error:
        return _error(f"jaxviz demo: cannot write to {logdir}: {error}")
    except KeyboardInterrupt:
        print(f"\nStopped. What was logged until now is in {logdir}: jaxviz tensorboard {logdir}", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _new_folder(parent: Path, name: str) -> Path:
    number = 1
    while (folder := parent / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _tensorboard(arguments: argparse.Namespace) -> int:
    if not arguments.logdir.is_dir():
        return _error(f"jaxviz tensorboard: LOGDIR must be a folder, and {arguments.logdir} is none")
    if not 0 <= arguments.port <= 65535:
        return _error(f"jaxviz tensorboard: --port must be from 0 to 65535, got {arguments.port}")
    from tensorboard import default, program

    board = program.TensorBoard(default.get_plugins())
    settings = {
        "logdir": arguments.logdir,
        "host": arguments.host,
        "port": arguments.port,
        "samples_per_plugin": "images=1000",
    }
    board.configure(
        ["jaxviz tensorboard", *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]
    )
    return board.main() or 0


def _error(message: str) -> int:
    print(message, file=sys.stderr)
    return 2
