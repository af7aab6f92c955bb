#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""kselftest_report.py DIR [RUN...]: what is worse in the runs patched and lazy than in stock.

Each test case is compared with that of the same name, numbers aside: it must not fail or be skipped
where stock passes, nor fail where stock skips, nor be missing; one that stock does not have must
pass. Programs that got worse are named in DIR/again. If there are runs "again-...", they ran there
many times: of cases that do not pass each time on stock, the best result counts. What never passes
on stock is not judged. RUN did not end by itself.

kunit.py loses the thread when a program ends within its plan: here the indentation tells which
program a case belongs to.
"""

import collections
import os
import re
import sys

from report import console

CASE = re.compile(r"( *)(not )?ok \d+ ?(?:- )?(.*)")
DIRECTIVE = re.compile(r"(.*?)\s*# (SKIP|XFAIL|XPASS)\b")
NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+")
WORSE = {"PASS": 0, "XFAIL": 1, "SKIP": 2, "FAIL": 3, "MISSING": 4}
UNJUDGED = ("FAIL", "MISSING")


def read(path, before=(), pick=max):
    """{(program, case, occurrence): status} of a run; the case of a program as such is ''.

    Of a program that ran more than once, the worst, or the best if pick is min; cases of "before"
    may not be missing.
    """
    results, inner = {}, collections.Counter()
    attempt = {}
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
            if not failed and directive.group(2) != "XPASS":
                status = directive.group(2)
        if indent:
            name = NUMBER.sub("N", name) or "(no name)"
            inner[name] += 1
            attempt[name, inner[name]] = status
            continue
        attempt["", 1] = status
        for case in [key[1:] for key in before if key[0] == name]:
            attempt.setdefault(case, "MISSING")
        for case, status in attempt.items():
            key = (name, *case)
            results[key] = pick(results.get(key, status), status, key=WORSE.get)
        inner.clear()
        attempt = {}
    return results


def messages(path):
    """Kernel messages that tell of a bug: those of a run that differ in numbers only are one."""
    return {(during, NUMBER.sub("N", re.sub(r"^\[ *[\d.]+\] *", "", line))): line
            for during, line in console(path)}


def host(path):
    """The result of tools/testing/vma in the same form."""
    with open(path, errors="replace") as file:
        found = re.search(r"(\d+) tests run, (\d+) passed, (\d+) failed", file.read())
    passed, failed = (int(found.group(n)) for n in (2, 3)) if found else (0, 1)
    return {("tools/testing/vma", "", n): "PASS" if n <= passed else "FAIL"
            for n in range(1, passed + failed + 1)}


def label(key):
    program, case, number = key
    return program + (f": {case}" if case else "") + (f" ({number})" if number > 1 else "")


def main():
    directory, *hanging = sys.argv[1:]
    runs = {}
    for run in "stock", "patched", "lazy":
        runs[run] = read(f"{directory}/{run}.tap")
    stock = runs["stock"]
    programs = {key[0] for key in stock}
    for run, results in runs.items():
        results.update(host(f"{directory}/vma-{'stock' if run == 'stock' else 'patched'}.txt"))
    best = {run: dict(results) for run, results in runs.items()}
    for run in runs:
        path = f"{directory}/again-{run}.tap"
        if not os.path.exists(path):
            continue
        for key, status in read(path, stock, min).items():
            best[run][key] = min(best[run].get(key, status), status, key=WORSE.get)
        if run == "stock":
            for key, status in read(path, stock).items():
                stock[key] = max(stock.get(key, "PASS"), status, key=WORSE.get)
    known = messages(directory + "/stock.console")

    again = set()
    regressions = [f"{run}: the guest did not end by itself" for run in hanging]
    for run in "patched", "lazy":
        for key in sorted(stock.keys() | runs[run].keys()):
            before = stock.get(key, "PASS")
            after = runs[run].get(key, "MISSING")
            if key[1] and (key[0], "", 1) not in runs[run]:
                continue        # of a program that did not run
            if before in UNJUDGED and best["stock"].get(key) not in UNJUDGED:
                before = best["stock"].get(key, "PASS")
                after = best[run].get(key, "MISSING")
            if before not in UNJUDGED and WORSE[after] > WORSE[before]:
                if key[0] in programs:
                    again.add(key[0].partition(" ")[0])
                regressions.append(f"{run}: {after.lower()}: {label(key)} "
                                   f"(stock: {stock.get(key, 'absent').lower()})")
        regressions += [f"{run}: kernel message during {key[0]}: {line}" for key, line in
                        messages(f"{directory}/{run}.console").items() if key not in known]
    if stock.get(("mount /disk", "", 1)) != "PASS":
        regressions.append("stock: the tests had no file system to run on")

    with open(directory + "/again", "w") as file:
        file.write(",".join(sorted(again)))
    for line in regressions:
        print("  " + line)
    for run, results in runs.items():
        counts = collections.Counter(results.values())
        print(f"  {run + ':':9}{counts['PASS']:5} passed, {counts['FAIL']} failed, "
              f"{counts['SKIP'] + counts['XFAIL']} skipped")
    unjudged = sorted(label(key) for key, status in best["stock"].items() if status in UNJUDGED)
    path = directory + "/unjudged.txt"
    with open(path, "w") as file:
        file.writelines(line + "\n" for line in unjudged)
    print(f"  always fail on stock, not judged: {len(unjudged)} ({os.path.relpath(path)})")
    both = collections.Counter(status for run in ("patched", "lazy")
                               for status in runs[run].values())
    print(f"{both['PASS']} passed, {len(regressions)} failed, "
          f"{both['SKIP'] + both['XFAIL']} skipped")
    sys.exit(1 if regressions else 0)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
