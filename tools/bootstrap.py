"""Make the virtual environment: `python3 tools/bootstrap.py STAMP [TORCH_INDEX]`. Called by the Makefile.

Written so that any Python 3 can read it as far as the line that asks for a newer one. STAMP is written when all is
installed. A lock keeps a second `make` waiting instead of installing into the same place. What is already installed
in the right version is not asked for again, so that after a change of pyproject.toml no network is needed either.
"""

import fcntl
import os
import subprocess
import sys

ENVIRONMENT = ".venv"
TORCH = "torch"


def pinned(name):
    """The requirement of `name` in constraints.txt."""
    with open("constraints.txt", encoding="utf-8") as lines:
        return next(line.strip() for line in lines if line.startswith(name + "=="))


def pip(*arguments):
    python = os.path.join(ENVIRONMENT, "bin", "python")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
    try:
        subprocess.run([*command, *arguments], check=True)
    except subprocess.CalledProcessError:
        sys.exit("make: pip could not install everything (its words are above); the first installation needs a network")


def make_environment():
    if os.path.exists(os.path.join(ENVIRONMENT, "bin", "python")):
        return
    print("making the virtual environment", ENVIRONMENT, file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        sys.exit(
            "make: this Python cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv"
        )


def main(stamp, torch_index=""):
    if sys.version_info < (3, 11):
        found = sys.version.split()[0]
        sys.exit(
            "make: CLLM needs Python 3.11 or newer, and python3 is %s: install one, then make PYTHON=python3.12" % found
        )
    with open(".bootstrap.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(stamp):
            return
        make_environment()
        print("installing what CLLM needs; this is done once and takes some minutes", file=sys.stderr)
        # torch first and alone: only it may come from an index of its own (CPU builds are a tenth of the GPU ones).
        pip(*(["--index-url", torch_index] if torch_index else []), pinned(TORCH))
        pip(pinned("setuptools"))
        pip("--no-build-isolation", "-e", ".[dev]")
        for name in os.listdir(ENVIRONMENT):
            if name.startswith(".installed-"):
                os.unlink(os.path.join(ENVIRONMENT, name))
        with open(stamp, "w", encoding="utf-8"):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
