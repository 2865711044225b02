"""The tables of docs/NUMERICS.md, of what the libraries wrote.

    table.py FOLDER    prints them; FOLDER/LIBRARY has a library's outputs
"""

import pathlib
import sys

import cases
import exact
import tensors
from columns import COLUMNS


def answer(folder, case, want, always_type):
    """What a library gave for a case: a cell of the table, and none where it has no such norm."""
    result = folder / f"{case.name}.safetensors"
    if not result.exists():
        return "error" if result.with_suffix(".error").exists() else None
    y = tensors.load(result)["y"][0]
    cell = exact.cell(case, y, want)
    other = always_type or y.dtype != case.x.dtype
    return f"{tensors.NAMES[y.dtype].lower()}, {cell}" if other else cell


def table(outputs, title, rows, always_type=False):
    lines = []
    for case in rows:
        want = exact.reference(case)
        lines.append((case.text, [answer(outputs / name, case, want, always_type) for name in COLUMNS]))
    kept = [i for i in range(len(COLUMNS)) if any(cells[i] for _, cells in lines)]
    columns = list(COLUMNS.values())
    print("|", " | ".join([title] + [columns[i] for i in kept]), "|")
    print("|---|" + "--:|" * len(kept))
    for text, cells in lines:
        print("|", " | ".join([text] + [cells[i] or "–" for i in kept]), "|")
    print()


def main():
    outputs = pathlib.Path(sys.argv[1])
    for norm, title in [("layer", "LayerNorm"), ("rms", "RMSNorm")]:
        table(outputs, title, cases.hard(norm))
    for norm, title in [("layer", "LayerNorm, type of the result"), ("rms", "RMSNorm, type of the result")]:
        table(outputs, title, cases.mixed(norm), always_type=True)


main()
