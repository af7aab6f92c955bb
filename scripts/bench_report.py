#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""bench_report.py DIR KERNEL CONFIG COMMIT GROUP...: what the boots of the benchmark measured.

Writes DIR/bench.json, bench.md, bench.rst, bench.quote and GROUP.svg, prints the table, what is wrong,
and as the last line "N rows measured, N bounds met, N not met". Fails when a boot or a row is
missing, a guest complained, or a bound is not met.
"""

import json
import os
import re
import statistics
import sys
import textwrap

sys.dont_write_bytecode = True
from report import console  # noqa: E402 pylint: disable=wrong-import-position

# The rows of each group: name, what it is, unit, bound of lazy as a ratio to stock.
INSTRUCTIONS = "instructions"
GROUPS = {
    "fork": [
        ("fork_10", "fork, exit and wait, 10 faulted VMAs", INSTRUCTIONS, 0.90),
        ("fork_100", "the same, 100 VMAs", INSTRUCTIONS, 0.70),
        ("fork_1000", "the same, 1000 VMAs", INSTRUCTIONS, 0.60),
        ("fork_5000", "the same, 5000 VMAs", INSTRUCTIONS, 0.58),
    ],
    "vma": [
        ("touch", "first touch of a VMA, over touching a second page", INSTRUCTIONS, 0.20),
        ("munmap_one_call", "munmap of 1000 VMAs in one call, per VMA", INSTRUCTIONS, 0.85),
        ("munmap_one_by_one", "the same, one by one", INSTRUCTIONS, 0.92),
        ("mprotect", "mprotect that splits, and one that merges", INSTRUCTIONS, 0.88),
        ("mremap", "mremap of a faulted VMA of 4 pages", INSTRUCTIONS, 0.98),
    ],
    "walk": [
        ("walk_leaf", "walk of a page of a process without children", INSTRUCTIONS, 1.00),
        ("walk_shared_1", "walk of a page shared with 1 child", INSTRUCTIONS, 1.00),
        ("walk_shared_100", "walk of a page shared with 100 children", INSTRUCTIONS, 1.00),
        ("walk_worker", "walk of an own page of one of 1000 workers", INSTRUCTIONS, 1.00),
    ],
    "pageout": [
        ("pageout_many", "MADV_PAGEOUT of 512 VMAs, per page", INSTRUCTIONS, 1.00),
        ("pageout_one", "MADV_PAGEOUT of one VMA, per page", INSTRUCTIONS, 1.00),
    ],
    "children": [
        ("children_walk_300", "walk of a page of the parent, 300 children", INSTRUCTIONS, 1.05),
        ("children_walk_1000", "the same, 1000 children", INSTRUCTIONS, 1.05),
        ("children_fork", "fork, and munmap of all but one VMA, per child", INSTRUCTIONS, 0.72),
    ],
    "slab": [
        ("slab_processes", "slabs of anon_vmas, chains, contexts: 60 processes", "bytes", 0.15),
        ("slab_processes_objects", "the objects in use in these", "bytes", 0.15),
        ("slab_zygote", "slabs, a zygote with 24 apps", "bytes", 0.01),
        ("slab_zygote_objects", "the objects in use in these", "bytes", 0.01),
    ],
    "objects": [
        ("vmas", "VMAs of a program with threads, malloc, JIT", "VMAs", 1.00),
        ("vmas_child", "VMAs of its child, which goes on like that", "VMAs", 1.00),
    ],
    "real": [
        ("real_fork", "os.fork() of a CPython with much memory", INSTRUCTIONS, None),
        ("real_redis_fork", "fork of Redis for BGSAVE, 20 MB", INSTRUCTIONS, None),
        ("real_redis_save", "BGSAVE, and 5000 SETs at the same time", INSTRUCTIONS, None),
        ("real_pgbench", "pgbench, 400 transactions of 4 connections", INSTRUCTIONS, None),
        ("real_pgbench_connect", "the same, 100 of a connection each", INSTRUCTIONS, None),
        ("real_pool", "multiprocessing, a pool of 16 processes", INSTRUCTIONS, None),
        ("real_hackbench", "hackbench, 160 processes and pipes", INSTRUCTIONS, None),
        ("real_compile", "gcc -O2, 50 functions", INSTRUCTIONS, None),
        ("real_slab", "slabs as above, a pool of 24 processes", "bytes", None),
        ("real_slab_objects", "the objects in use in these", "bytes", None),
        ("real_pgbench_slab", "slabs, PostgreSQL with 20 connections", "bytes", None),
        ("real_pgbench_slab_objects", "the objects in use in these", "bytes", None),
    ],
    "throughput": [
        ("throughput", "children of one parent that map, touch, fork, unmap", "turns/s", 1.20),
    ],
}
# Without lazy VMAs nothing may cost more than this, as a ratio to stock.
NOTHING = 1.005
RUNS = {"stock": "stock", "absent": "module absent", "off": "enabled=0", "late": "N after Y",
        "lazy": "lazy"}
ROW = re.compile(r"^  (\w+) ([\d.]+) (?:ns|bytes|VMAs|turns/s)$")


def read(path, problems):
    """What one boot measured; what it says went wrong is added to the problems."""
    boot = os.path.basename(path)
    try:
        with open(path + ".results", errors="replace") as file:
            lines = [line.rstrip() for line in file]
        problems += [f"{boot}: {line}" for _, line in console(path + ".console")]
    except OSError as error:
        problems.append(f"{boot}: no such boot: {error}")
        return {}
    problems += [f"{boot}: {line.strip()}" for line in lines
                 if re.match(r"not ok|\s*Bail out|error ", line)]
    if not os.path.exists(path + ".ended"):
        problems.append(f"{boot}: the guest did not end by itself")
    return {found[1]: float(found[2]) for found in map(ROW.match, lines) if found}


def measure(directory, groups, problems):
    """All rows: a dictionary each, with the values and ratios of all runs."""
    if groups != ["throughput"]:
        boots = {run: read(f"{directory}/{run}", problems) for run in RUNS}
    if "throughput" in groups:
        timed = {run: [read(f"{directory}/{run}-{i}", problems) for i in (1, 2, 3)]
                 for run in ("stock", "lazy")}
    rows = []
    for group in groups:
        for name, title, unit, bound in GROUPS[group]:
            row = {"group": group, "name": name, "title": title, "unit": unit, "bound": bound}
            if group == "throughput":
                values = {run: [boot[name] for boot in timed[run] if name in boot]
                          for run in timed}
                row["rounds"] = values
                row["values"] = {run: statistics.median(values[run])
                                 for run in values if len(values[run]) == 3}
                wanted = timed
            else:
                row["values"] = {run: boots[run][name] for run in RUNS if name in boots[run]}
                wanted = RUNS
            missing = [run for run in wanted if run not in row["values"]]
            if missing:
                problems.append(f"{name}: no figure of {', '.join(missing)}")
                continue
            stock = row["values"]["stock"]
            row["ratios"] = {run: round(value / stock, 3) for run, value in row["values"].items()
                             if run != "stock"}
            rows.append(row)
    return rows


def judge(row):
    """The bounds of a row: run, ratio, sign, bound, whether it is met. No bound is always met."""
    for run, ratio in row["ratios"].items():
        if row["group"] == "throughput":
            yield run, ratio, "≥", row["bound"], ratio >= row["bound"]
        else:
            bound = {"lazy": row["bound"], "late": None}.get(run, row["bound"] and NOTHING)
            yield run, ratio, "≤", bound, not bound or ratio <= bound


def cells(rows):
    """The table, row by row: strings."""
    yield ["", "stock", "unit", *list(RUNS.values())[1:], "bound", ""]
    for row in rows:
        stock = row["values"]["stock"]
        sign, met = [(sign, met) for run, _, sign, _, met in judge(row) if run == "lazy"][0]
        yield [row["title"], f"{stock:,.0f}", row["unit"],
               *(f"{row['ratios'][run]:.3f}" if run in row["ratios"] else "–"
                 for run in list(RUNS)[1:]),
               *([f"{sign} {row['bound']:.2f}", "met" if met else "not met"] if row["bound"]
                 else ["–", ""])]


def markdown(table, about, counts, _):
    head, *body = table
    lines = [about, "", "| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join([*lines, "", counts, ""])


def rst(table, about, counts, groups):
    head, *body = table
    lines = [".. SPDX-License-Identifier: GPL-2.0", ".. Written by make bench SAVE=1", "",
             about, "", ".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
    for row in [head, *body]:
        lines += [f"   {'-' if i else '* -'} {cell}".replace("   - ", "     - ", 1).rstrip()
                  for i, cell in enumerate(row)]
    lines += ["", counts, "", *(f".. image:: benchmark-{group}.svg" for group in groups), ""]
    return "\n".join(lines)


def quote(rows, commit, counts):
    """What README.md says."""
    short = {"fork_1000": "fork, exit and wait with 1000 VMAs", "touch": "first touch of a VMA",
             "munmap_one_call": "munmap of 1000 VMAs", "walk_leaf": "an rmap walk",
             "slab_zygote": "slabs of the demo", "throughput": "throughput"}
    parts = [f"{short[row['name']]} {row['ratios']['lazy']:.3f}" for row in rows
             if row["name"] in short]
    return textwrap.fill(f"As a ratio to stock (commit {commit}): {', '.join(parts)}. {counts}.",
                         100) + "\n"


def text(table):
    widths = [max(map(len, column)) for column in zip(*table)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
                     for row in table)


def chart(path, rows, about):
    """Bars of the ratios to stock, with a mark at each bound."""
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel

    figure, axes = pyplot.subplots(figsize=(9, 1.3 + 0.75 * len(rows)))
    colours = {"absent": "#bbbbbb", "off": "#7f9fbf", "late": "#7fbf9f", "lazy": "#d0603c"}
    for i, row in enumerate(rows):
        for j, (run, ratio, _, bound, _) in enumerate(judge(row)):
            y = i + 0.2 * (j - (len(row["ratios"]) - 1) / 2)
            axes.barh(y, ratio, 0.18, color=colours[run], label=RUNS[run])
            axes.text(ratio, y, f" {ratio:.3f}", va="center", fontsize=7)
            if run == "lazy" and bound:
                axes.plot([bound, bound], [i - 0.42, i + 0.42], color="black", label="bound of lazy")
    axes.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows])
    axes.invert_yaxis()
    if max(max(row["ratios"].values()) for row in rows) > 4:
        axes.set_xscale("log")
    axes.margins(x=0.1)
    better = "more" if rows[0]["group"] == "throughput" else "less"
    axes.set_xlabel(f"ratio to stock, {better} is better\n{about}", fontsize=7)
    labels = dict(zip(*reversed(axes.get_legend_handles_labels())))
    axes.legend(labels.values(), labels.keys(), fontsize=7, ncol=len(labels), frameon=False,
                loc="lower center", bbox_to_anchor=(0.5, 1))
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def main():
    directory, kernel, config, commit, *groups = sys.argv[1:]
    arch = os.path.basename(os.path.dirname(os.path.abspath(directory)))
    about = f"Linux {kernel}, {arch}, configuration {config}, commit {commit}."
    problems = []
    rows = measure(directory, groups, problems)

    verdicts = [(row, *verdict) for row in rows for verdict in judge(row) if verdict[3]]
    missed = [verdict for verdict in verdicts if not verdict[-1]]
    counts = (f"{len(rows)} rows measured, {len(verdicts) - len(missed)} bounds met, "
              f"{len(missed)} not met")
    table = list(cells(rows))
    with open(f"{directory}/bench.json", "w") as file:
        json.dump({"kernel": kernel, "arch": arch, "config": config, "commit": commit,
                   "rows": rows, "problems": problems, "met": len(verdicts) - len(missed),
                   "not_met": [{"row": row["name"], "run": run, "ratio": ratio, "bound": bound}
                               for row, run, ratio, _, bound, _ in missed]}, file, indent=4)
    for name, form in ("md", markdown), ("rst", rst):
        with open(f"{directory}/bench.{name}", "w") as file:
            file.write(form(table, about, counts + ".", groups))
    with open(f"{directory}/bench.quote", "w") as file:
        file.write(quote(rows, commit, counts))
    try:
        for group in groups:
            chosen = [row for row in rows if row["group"] == group]
            if chosen:
                chart(f"{directory}/{group}.svg", chosen, about)
    except ImportError as error:
        problems.append(f"no charts: {error}: apt-get install python3-matplotlib (or make setup BENCH=1)")

    print("\n" + about + "\n\n" + text(table) + "\n")
    for row, run, ratio, sign, bound, _ in missed:
        print(f"NOT MET: {row['name']}, {RUNS[run]}: {ratio:.3f}, must be {sign} {bound}")
    for problem in problems:
        print("PROBLEM: " + problem)
    print(counts)
    sys.exit(1 if problems or missed else 0)


if __name__ == "__main__":
    main()
