"""Stand-ins for the CUDA libraries that PyTorch's wheel links to, so that it loads where there is no GPU.

PyPI's PyTorch for Linux is a CUDA build: importing it takes some 3 GB of CUDA packages, of which the CPU operators
call nothing. A stand-in is a shared object of the same name, whose functions return 1, an error in every one of these
libraries, so that PyTorch finds no device, or where they tell an error's name, an empty string.
"""

import collections
import pathlib
import re
import subprocess

# Libraries whose symbols carry no version, by what their symbols begin with.
UNVERSIONED = {"nccl": "libnccl.so.2", "cuFile": "libcufile.so.0", "cusparseLt": "libcusparseLt.so.0"}
OURS = re.compile(r"^lib(cu|nv|nccl)")


def read(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def function(name):
    """A C function that fails, or names an error, by the name of a function of CUDA's libraries."""
    if re.search("String|Name", name):
        return f'const char *{name}(void) {{ return ""; }}\n'
    return f"int {name}(void) {{ return 1; }}\n"


def make(torch):
    """Compiles a stand-in for each CUDA library that the libraries in `torch`/lib need and that is not there.

    `torch` is the folder of the installed package. Needs gcc and binutils.
    """
    libraries = sorted(map(str, (torch / "lib").glob("lib*.so")))
    present = {pathlib.Path(library).name for library in libraries}
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", read("readelf", "-d", *libraries))
    missing = {name for name in needed if OURS.match(name) and name not in present}
    symbols = {name: collections.defaultdict(set) for name in missing}
    versions = {"NVSHMEM": "libnvshmem_host.so.3"}
    for line in read("nm", "-D", "-u", "--with-symbol-versions", *libraries).splitlines():
        symbol, _, version = line.split()[-1].partition("@") if line.split() else ("", "", "")
        prefix = next((prefix for prefix in UNVERSIONED if symbol.startswith(prefix)), None)
        library = versions.get(version, version) if version else UNVERSIONED.get(prefix)
        if library in symbols:
            symbols[library][version].add(symbol)
    folder = torch.parent / "nvidia" / "cu13" / "lib"  # which the wheel's RPATH names
    folder.mkdir(parents=True, exist_ok=True)
    for library, by_version in symbols.items():
        source, script = folder / "stub.c", folder / "stub.map"
        names = sorted(set().union(*by_version.values()))
        source.write_text("".join(map(function, names)))
        script.write_text("".join(f"{version} {{ global: *; }};\n" for version in by_version if version))
        options = [f"-Wl,--version-script={script}"] if script.read_text() else []
        command = ["gcc", "-shared", "-fPIC", "-w", "-fno-builtin", *options, f"-Wl,-soname,{library}"]
        subprocess.run([*command, "-o", str(folder / library), str(source)], check=True)
        source.unlink()
        script.unlink()
