"""Devices without a GPU: the project's stand-in for libcuda in the driver's place (`on_driver.py` has what is run)."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parent.parent / "norm-testing" / "libcuda" / "lib.rs"
HELPERS = {"call", "launches", "on_device", "refused", "stream", "torch_with"}


def names():
    """Of the functions in `on_driver.py` that are run, without importing it: it opens the driver."""
    lines = (HERE / "on_driver.py").read_text().splitlines()
    functions = [line[len("def ") : line.index("(")] for line in lines if line.startswith("def ")]
    return [name for name in functions if name not in HELPERS]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    rustc = shutil.which("rustc")
    if rustc is None or not SOURCE.is_file():
        pytest.skip("the stand-in for libcuda is compiled by rustc, from the repository")
    library = tmp_path_factory.mktemp("driver") / "libcuda_mock.so"
    command = [rustc, "--edition", "2024", "--crate-type", "cdylib", "--crate-name", "cuda_mock"]
    subprocess.run([*command, "-o", library, SOURCE], check=True)
    return library


@pytest.mark.parametrize("name", names())
def test_on_the_stand_in(driver, name):
    environment = {**os.environ, "NORM_LIBCUDA": str(driver)}
    command = [sys.executable, str(HERE / "on_driver.py"), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("held\n"), done.stdout + done.stderr
    if name == "doctor_lists_devices":
        assert "cuda:3: ready: Mock device 3, compute capability 9.0, kernels sm_90" in done.stdout


def test_an_old_driver_and_an_old_device(driver):
    for settings, text in [
        ("cuda=11.4", "cannot be used: the CUDA driver is too old: expected one for CUDA"),
        ("devices=7.5", "cannot be used: device: expected compute capability 8.0 or newer, given 7.5"),
        ("devices=", "CUDA: a driver, and no device"),
    ]:
        environment = {**os.environ, "NORM_LIBCUDA": str(driver), "NORM_MOCK": settings}
        command = [sys.executable, "-m", "norm_gpu", "doctor"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and text in done.stdout, done.stdout + done.stderr
