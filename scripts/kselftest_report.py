#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""kselftest_report.py DIR [RUN...]: what is worse in the runs patched and lazy than in stock.

Each test case is compared with that of the same name: it must not fail or be skipped where stock
passes, nor fail where stock skips, nor be missing; one that stock does not have must pass. RUN did
not end by itself. kunit.py loses the thread when a program ends within its plan: the indentation
tells here which program a case belongs to.
"""

import collections
import re
import sys

from report import console

CASE = re.compile(r"( *)(not )?ok \d+ ?(?:- )?(.*)")
DIRECTIVE = re.compile(r"(.*?)\s*# (SKIP|XFAIL|XPASS)\b")
NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+")
WORSE = {"PASS": 0, "XFAIL": 1, "SKIP": 2, "FAIL": 3, "MISSING": 4}


def read(path):
    """{(program, case, occurrence): status} of a run; the case of a program as such is ''."""
    results, inner = {}, []
    with open(path, errors="replace") as file:
        lines = file.read().splitlines()
    for line in lines:
        match = CASE.match(line)
        if not match:
            continue
        indent, failed, name = match.groups()
        status = "FAIL" if failed else "PASS"
        directive = DIRECTIVE.match(name)
        if directive:
            name = directive.group(1)
            if not failed:
                status = {"SKIP": "SKIP", "XFAIL": "XFAIL"}.get(directive.group(2), status)
        if indent:
            inner.append((NUMBER.sub("N", name), status))
            continue
        seen = collections.Counter()
        results[name, "", 1] = status
        for case, case_status in inner:
            seen[case] += 1
            results[name, case, seen[case]] = case_status
        inner = []
    return results


def messages(path):
    """Kernel messages that tell of a bug: those of a run that differ in numbers only are one."""
    return {(during, NUMBER.sub("N", re.sub(r"^\[ *[\d.]+\] *", "", line))): line
            for during, line in console(path)}


def vma(path):
    """Tests of tools/testing/vma: run, passed, failed."""
    with open(path) as file:
        found = re.search(r"(\d+) tests run, (\d+) passed, (\d+) failed", file.read())
    return [int(number) for number in found.groups()] if found else [0, 0, 1]


def label(key):
    program, case, number = key
    return program + (f": {case or '(no name)'}" if case else "") + \
        (f" ({number})" if number > 1 else "")


def main():
    directory, *hanging = sys.argv[1:]
    stock = read(directory + "/stock.tap")
    expected = messages(directory + "/stock.console")
    regressions = [(run, "the guest did not end by itself") for run in hanging]
    print(f"\n{'':10}{'passed':>8}{'failed':>8}{'skipped':>8}{'regressions':>13}")
    total = collections.Counter()
    unjudged = {label(key) for key, status in stock.items() if status == "FAIL"}
    for run in "stock", "patched", "lazy":
        results = read(f"{directory}/{run}.tap")
        bad = []
        if run != "stock":
            for key in sorted(stock.keys() | results.keys()):
                before = stock.get(key, "PASS")
                after = results.get(key, "MISSING")
                if before != "FAIL" and WORSE[after] > WORSE[before]:
                    bad.append(f"{after.lower()}, on stock {stock.get(key, 'absent').lower()}: "
                               + label(key))
            bad += [f"kernel message during {during}: {line}" for (during, text), line in
                    messages(f"{directory}/{run}.console").items()
                    if (during, text) not in expected]
            _, ok, failed = vma(directory + "/vma-patched.txt")
            total["passed"] += ok if run == "patched" else 0
            if run == "patched" and (failed or ok < vma(directory + "/vma-stock.txt")[1]):
                bad.append("tools/testing/vma")
        counts = collections.Counter(results.values())
        print(f"{run:10}{counts['PASS']:8}{counts['FAIL']:8}{counts['SKIP'] + counts['XFAIL']:8}"
              f"{len(bad):13}" if run != "stock" else
              f"{run:10}{counts['PASS']:8}{counts['FAIL']:8}{counts['SKIP'] + counts['XFAIL']:8}")
        if run != "stock":
            total["passed"] += counts["PASS"]
            total["skipped"] += counts["SKIP"] + counts["XFAIL"]
        regressions += [(run, line) for line in bad]
    print()
    for run, line in regressions:
        print(f"  {run}: {line}")
    print(f"  fail on stock too: {len(unjudged)}")
    if not total["passed"]:
        regressions.append(("", "no test ran"))
    print(f"{total['passed']} passed, {len(regressions)} failed, {total['skipped']} skipped")
    sys.exit(1 if regressions else 0)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
