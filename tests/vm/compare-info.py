#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compare-info.py TABLE TEST CELL <REPORT

Compares the output of `rseqctl info --json` with the line of a table for this test and cell.
Prints each difference. Exit status 1 if there is one, 2 if there is no such line or no JSON.
"""
import fnmatch
import json
import sys


def read_line(path, test, cell):
    """The first line for this test and cell, as a dictionary from keys to what is expected."""
    with open(path, encoding="utf-8") as table:
        lines = [line.split() for line in table if line.strip() and line[0] != "#"]
    for line in lines[1:]:
        if fnmatch.fnmatch(test, line[0]) and fnmatch.fnmatch(cell, line[1]):
            return dict(zip(lines[0][2:], line[2:], strict=True))
    return None


def text(value):
    """Of an array the elements, or their ids, with commas; - for an empty one."""
    if isinstance(value, list):
        return ",".join(text(item) for item in value) or "-"
    if isinstance(value, dict):
        return value["id"]
    if isinstance(value, str):
        return value
    return json.dumps(value)


def find(report, key):
    for part in key.split("."):
        report = report[part]
    return text(report)


def main():
    table, test, cell = sys.argv[1:]
    expected = read_line(table, test, cell)
    if expected is None:
        print(f"{table} has no line for {test} in {cell}")
        return 2
    try:
        report = json.load(sys.stdin)
    except ValueError as error:
        print(f"no JSON: {error}")
        return 2
    wrong = {key for key in expected if find(report, key) != expected[key]}
    for key in sorted(wrong):
        print(f"{key} is {find(report, key)}, not {expected[key]}")
    return 1 if wrong else 0


sys.exit(main())
