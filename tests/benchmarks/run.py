"""All benchmarks, one command: jaxviz beside Keras, tensorboardX, torch, Captum and hand-written loops.

python tests/benchmarks/install_peers.py        # once: the peers' environments
python tests/benchmarks/run.py [--only a,b] [--quick] [--json PATH] [--peers DIR] [--update-readme]
"""

import argparse
import importlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the peers run there too
os.environ.setdefault("MPLBACKEND", "Agg")

import machine
import report
from install_peers import FOLDER
from rich.console import Console
from settings import Settings

# Each a module of this folder with `run(settings)`, which yields comparisons, and a docstring whose first line is the title.
SECTIONS = {
    "imports": "imports",
    "writers": "writers",
    "fit": "fitting",
    "hooks": "hooks",
    "attribution": "explanations",
    "methods": "methods",
    "pretrained": "pretrained",
    "article": "article",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"which of {', '.join(SECTIONS)}, comma-separated")
    parser.add_argument("--quick", action="store_true", help="a minute or two: rough figures, to see that all runs")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="where all figures go")
    parser.add_argument("--peers", type=Path, default=FOLDER, help="folder of the peers' environments")
    parser.add_argument("--update-readme", action="store_true", help="put the table into the README of this folder")
    arguments = parser.parse_args()
    chosen = [name.strip() for name in arguments.only.split(",")]
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"--only: no section {', '.join(sorted(unknown))}; sections: {', '.join(SECTIONS)}")

    console = Console(width=None if sys.stdout.isatty() else 150)
    settings = Settings(quick=arguments.quick, peers=arguments.peers.resolve(), versions=machine.versions())
    results: dict[str, Any] = {
        "quick": arguments.quick,
        "machine": machine.describe(),
        "versions": settings.versions,
        "sections": {},
    }
    failed = []
    for name in (name for name in SECTIONS if name in chosen):
        start = time.perf_counter()
        records: list[dict[str, Any]] = []
        title = name
        try:
            section = importlib.import_module(SECTIONS[name])
            title = f"{name} {(section.__doc__ or '').splitlines()[0]}"
            with console.status(title):
                records.extend(comparison.record() for comparison in section.run(settings))
        except Exception:  # the other sections are still worth having
            failed.append(name)
            console.print(f"[bold red]{name} failed[/]")
            console.print(traceback.format_exc(), markup=False, highlight=False)
        results["sections"][name] = {
            "title": title,
            "seconds": time.perf_counter() - start,
            "failed": name in failed,
            "comparisons": records,
        }
        if records:
            report.show(console, title, records)
        results["load_average_after"] = machine.load()
        report.write_json(arguments.json, results)  # after each section: an interrupted run keeps what it has
    console.print(f"all figures: {arguments.json}")
    if arguments.update_readme:
        report.update_readme(Path(__file__).parent / "README.md", results)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
