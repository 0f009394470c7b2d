"""The demo from its first line to its last."""

import time
from pathlib import Path

import jax
from rich.console import Console

from jaxviz.demo import mnist, xor

_TASKS = {"xor": xor.run, "mnist": mnist.run}


def run(
    logdir: Path, *, task: str = "all", seed: int = 0, quick: bool = False, console: Console | None = None
) -> dict[str, list[str]]:
    """Runs the demo.

    Args:
        logdir: where logs, pictures and checkpoints go: one folder per task. Where a task was interrupted there, it goes on.
        task: "xor", "mnist" or "all".
        seed: of weights, order of the data and noise.
        quick: a few seconds' worth of each task.
        console: where to tell of it.

    Returns:
        Task -> what was found, in sentences.
    """
    console = console or Console(highlight=False)
    device = jax.devices()[0]
    console.print(f"device: [bold]{device.device_kind}[/] ({device.platform}), log: [bold]{logdir}[/]")
    begin = time.perf_counter()
    found: dict[str, list[str]] = {}
    for name in _TASKS if task == "all" else (task,):
        console.rule(f"[bold]{name}")
        found[name] = _TASKS[name](logdir / name, seed=seed, quick=quick, console=console)
    console.rule("[bold]what was found")
    for name, sentences in found.items():
        for sentence in sentences:
            console.print(f"[bold]{name}[/]  {sentence}")
    console.print(f"\nPictures: {', '.join(str(logdir / name / 'pictures') for name in found)}")
    console.print(
        f"Done in {time.perf_counter() - begin:.0f} s. Look at it in TensorBoard:\n\n    [bold]jaxviz tensorboard {logdir}[/]\n"
    )
    return found
