"""The tables of docs/NUMERICS.md, of what the libraries wrote.

    table.py FOLDER    prints them; FOLDER/LIBRARY has a library's outputs
"""

import pathlib
import sys

import cases
import exact
import orders
import tensors
from columns import COLUMNS, NORM_ORDERS


def answer(folder, case, judge):
    """What a library gave for a case: a cell of the table, by `judge(y)`; none where it has no such norm."""
    result = folder / f"{case.name}.safetensors"
    if result.exists():
        return judge(tensors.load(result)["y"][0])
    return "error" if result.with_suffix(".error").exists() else None


def table(outputs, title, rows, titles=None):
    """Prints a table of rows (text, case, judge), without the columns that have no answer at all; `titles` has what
    each column is called, by the folder of its outputs."""
    titles = titles or {name: column.title for name, column in COLUMNS.items()}
    lines = [(text, [answer(outputs / name, case, judge) for name in titles]) for text, case, judge in rows]
    kept = [i for i in range(len(titles)) if any(cells[i] for _, cells in lines)]
    columns = list(titles.values())
    print("|", " | ".join([title] + [columns[i] for i in kept]), "|")
    print("|---|" + "--:|" * len(kept))
    for text, cells in lines:
        print("|", " | ".join([text] + [cells[i] or "–" for i in kept]), "|")
    print()


def errors(rows):
    for case in rows:
        want = exact.reference(case)
        yield case.text, case, lambda y, case=case, want=want: exact.cell(case, y, want)


def types_and_errors(rows):
    for text, case, error in errors(rows):
        yield text, case, lambda y, error=error: f"{tensors.NAMES[y.dtype].lower()}, {error(y)}"


def formulas(norm):
    for case in cases.hard(norm):
        if case.text in ("f16, ±1", "bf16, ±1"):
            yield case.text, case, lambda y, case=case: orders.cell(case, y)


def main():
    outputs = pathlib.Path(sys.argv[1])
    names = {"layer": "LayerNorm", "rms": "RMSNorm"}
    for norm, name in names.items():
        table(outputs, name, errors(cases.hard(norm)))
    for norm, name in names.items():
        table(outputs, f"{name}, mixed types", types_and_errors(cases.mixed(norm)))
    for norm, name in names.items():
        table(outputs, f"{name}, order of roundings", formulas(norm))
    for norm, name in names.items():
        table(outputs, f"{name} of norm, `--rounding`", formulas(norm), NORM_ORDERS)


main()
