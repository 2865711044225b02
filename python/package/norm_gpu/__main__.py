"""`python -m norm_gpu doctor`: what this machine has for norms to run on."""

import importlib.metadata
import platform
import sys

from . import __version__
from ._native import device_count, device_summary

_USAGE = "usage: python -m norm_gpu doctor"


def _package(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def doctor():
    """Prints version, driver, devices and the packages that it works with. Needs none of them."""
    print(
        f"norm_gpu {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    for name in ("torch", "numpy", "ml_dtypes", "exllamav2"):
        print(f"{name}: {_package(name)}")
    print("CPU: ready")
    try:
        count = device_count()
    except RuntimeError as error:
        print(f"CUDA: {error}")
        return
    if count == 0:
        print("CUDA: a driver, and no device")
    for ordinal in range(count):
        try:
            summary = f"ready: {device_summary(ordinal)}"
        except (RuntimeError, ValueError) as error:
            summary = f"cannot be used: {error}"
        print(f"cuda:{ordinal}: {summary}")


def main(arguments):
    """Gives the exit status: 0, or 2 for arguments that mean nothing."""
    if arguments == ["doctor"]:
        doctor()
        return 0
    if arguments in (["-h"], ["--help"]):
        print(_USAGE)
        return 0
    print(f"{_USAGE}\nexpected the argument doctor, given {arguments}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
