"""Makes the virtual environments of the libraries that jaxviz is compared with, each in a folder of its own.

    python tests/benchmarks/install_peers.py [--peers DIR] [--only torch,tensorboardx]

Standard library only. An environment that is complete is left as it is; an interrupted one is made anew. JAX under Keras is
the version that stands beside jaxviz, so that the same compiler serves both sides.
"""

import argparse
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent / ".peers"
# Pinned: a ratio means something only against a known version. A plain `torch` brings a CUDA build of several GB.
PEERS = {
    "keras-tensorflow": ["keras==3.15.1", "tensorflow-cpu==2.21.0"],
    "keras-jax": ["keras==3.15.1", "jax=={jax}", "jaxlib=={jaxlib}"],
    "torch": ["torch==2.13.0", "captum==0.9.0", "scikit-learn==1.9.1", "tensorboard==2.21.0"],
    "tensorboardx": ["tensorboardX==2.6.5", "pillow"],
}
# Zennit asks for torchvision, whose builds do not fit every build of torch; `peers/methods.py` does without.
ALONE = {"torch": ["zennit==0.5.1"]}  # installed without their dependencies


def python(name: str, folder: Path = FOLDER) -> Path:
    """Returns the interpreter of a peer's environment; raises if it is not complete."""
    environment = folder / name
    if not (environment / "complete").exists():
        raise FileNotFoundError(
            f"the environment of {name!r} is not in {folder}: run python tests/benchmarks/install_peers.py"
        )
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def requirements(name: str) -> list[str]:
    """Returns what pip installs for a peer."""
    return [r.format(jax=version("jax"), jaxlib=version("jaxlib")) if "{" in r else r for r in PEERS[name]]


def listed(name: str) -> str:
    """Returns what the mark of a complete environment says."""
    return "\n".join([*requirements(name), *ALONE.get(name, [])])


def install(name: str, folder: Path = FOLDER) -> None:
    """Makes one environment; the mark of completeness is its list of requirements."""
    environment, wanted = folder / name, listed(name)
    mark = environment / "complete"
    if mark.exists() and mark.read_text() == wanted:
        print(f"{name}: there already")
        return
    print(f"{name}: installing {wanted.replace(chr(10), ', ')}", flush=True)
    venv.create(environment, clear=True, with_pip=True)
    pip = [str(environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")), "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", *requirements(name)], check=True)
    if name in ALONE:
        subprocess.run([*pip, "install", "--quiet", "--no-deps", *ALONE[name]], check=True)
    mark.write_text(wanted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=FOLDER, help="folder of the environments")
    parser.add_argument("--only", default=",".join(PEERS), help=f"which of {', '.join(PEERS)}, comma-separated")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(PEERS):
        parser.error(f"--only: no peer {', '.join(sorted(unknown))}; peers: {', '.join(PEERS)}")
    for peer in chosen:
        install(peer, arguments.peers)
