#!/usr/bin/env python3
"""What transformers' own norms compute, recorded for tests/models/main.rs.

    tests/models.py [--rope] [--check] [--venv DIR]

Runs the norms of some 80 families of models on the CPU, eagerly and compiled, on random rows and hard ones, and writes
tests/models.safetensors, with inputs and results, and tests/models.json, which says of each family what its norms are,
where they stand, and which record holds each. With --rope it runs tests/models/rope.py, seconds, instead. With --check it writes nothing and compares: every bit is to be the same.

torch and transformers, in the versions below, are installed from PyPI into a virtual environment in a temporary folder
(5.6 GB: PyPI's torch for Linux comes with CUDA's libraries, without which it is not imported), or in DIR, where they are
found the next time. Needed beside Python 3.11: a C++ compiler, for torch.compile. Takes four minutes, one of them without the installation. Not part of CI.

The sums of a row depend on the vectors that the CPU has. They are those of AVX2 here, on every machine that has it.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

PACKAGES = ["torch==2.15.0", "transformers==5.24.0"]
MODELS = pathlib.Path(__file__).resolve().parent / "models"


def environment(folder):
    """The Python of a virtual environment that has the packages."""
    python = folder / "bin" / "python"
    if not python.is_file():
        venv.create(folder, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    subprocess.run(pip, check=True)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is recorded, and write nothing")
    parser.add_argument("--rope", action="store_true", help="rotations alone, which have files of their own")
    parser.add_argument("--venv", type=pathlib.Path, metavar="DIR", help="a folder to install into, and to keep")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        python = environment(arguments.venv or pathlib.Path(temporary))
        # Nothing is fetched of a model, and nothing is kept of what was compiled.
        settings = {
            "PYTHONDONTWRITEBYTECODE": "1",
            "ATEN_CPU_CAPABILITY": "avx2",
            "HF_HUB_OFFLINE": "1",
            "TORCHINDUCTOR_CACHE_DIR": os.path.join(temporary, "compiled"),
        }
        record = MODELS / ("rope.py" if arguments.rope else "record.py")
        command = [python, record, *(["--check"] if arguments.check else [])]
        sys.exit(subprocess.run(command, env={**os.environ, **settings}).returncode)


if __name__ == "__main__":
    main()
