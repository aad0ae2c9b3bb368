#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""table.py FILE <RESULTS

Brings a table of results of virtual machines, in Markdown, up to date: the rows of the cells in
RESULTS, what tests/vm/run writes, are replaced or added; rows of cells that are no more are left
out. Rows are in the order of tests/vm/cells.
"""
import datetime
import os
import sys

HEAD = """<!-- SPDX-License-Identifier: MIT -->
# Tested kernels

What tests in virtual machines found when each was last run. `make tested` runs them all, and brings
this file up to date; `make tested CELLS="PATTERN..."` does so for some. `tests/vm/cells` says what
each cell is, and `tests/vm/programs` what runs in it. A cell without a kernel was not to be had from
the mirror. Aborts are those of critical sections, as the tests counted them: in the abort test,
which stops a thread after each instruction of each section, and in storms of signals and
migrations.

"""
TITLES = ("cell", "arch", "kernel", "libc", "kind", "passed", "failed", "skipped", "aborts", "date")
RIGHT = ("passed", "failed", "skipped", "aborts")


def cells():
    """The names of all cells, in order."""
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "cells")
    with open(path, encoding="utf-8") as lines:
        return [line.split()[0] for line in lines if line.strip() and line[0] != "#"]


def read_table(path):
    """Rows of a table that this program wrote, by cell."""
    rows = {}
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                columns = [column.strip() for column in line.strip("|\n ").split("|")]
                if line.startswith("| ") and len(columns) == len(TITLES):
                    rows[columns[0]] = columns
    except FileNotFoundError:
        pass
    return rows


def read_results(lines):
    rows = {}
    today = datetime.date.today().isoformat()
    for line in lines:
        name, arch, kernel, libc, options, *numbers = line.rstrip("\n").split("\t")
        kind = [word for word in options.split(",") if word in ("numa", "offline", "debug")]
        if kernel == "-":
            numbers = ["-"] * len(numbers)
        rows[name] = [name, arch, kernel, libc, " ".join(kind) or "-", *numbers[:4], today]
    return rows


def main():
    path = sys.argv[1]
    rows = read_table(path) | read_results(sys.stdin)
    rules = ["---:" if title in RIGHT else "---" for title in TITLES]
    with open(path, "w", encoding="utf-8") as table:
        table.write(HEAD)
        for columns in [TITLES, rules] + [rows[name] for name in cells() if name in rows]:
            table.write("| " + " | ".join(columns) + " |\n")


main()
