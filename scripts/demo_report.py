#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""demo_report.py DIR: what the two boots of the demo reported, side by side; DIR/demo.json."""

import json
import os
import sys

from report import console

CACHES = ("anon_vma", "anon_vma_chain", "anon_vma_lazy", "vm_area_struct")
DEFERRED = CACHES[:3]       # what the module is about: anon_vmas, chains, contexts


def read(path):
    """The lines of one boot, by their first word."""
    result = {"slab": {}, "stats": [], "rmap_walk": [], "verify": [], "error": []}
    with open(path, errors="replace") as file:
        for line in file:
            word, _, rest = line.rstrip().partition(" ")
            if word == "slab":
                cache, objects, total = rest.split()
                result["slab"][cache] = {"objects": int(objects), "bytes": int(total)}
            elif word in result:
                result[word].append(rest)
    return result


def main():
    directory = sys.argv[1]
    stock, lazy = (read(f"{directory}/demo-{mode}.results") for mode in ("stock", "lazy"))
    problems = [f"{mode}: {error}" for mode, boot in (("stock", stock), ("lazy", lazy))
                for error in boot["error"]]
    for mode, boot in ("stock", stock), ("lazy", lazy):
        if "anon_vma" not in boot["slab"]:
            sys.exit(f"demo_report.py: no results of the {mode} boot, "
                     f"see {directory}/demo-{mode}.console")
        problems += [f"{mode} kernel: {line}" for _, line in
                     console(f"{directory}/demo-{mode}.console")]

    print("\nSlab bytes while the workload is there (objects)")
    print(f"{'':18}{'without the module':>28}{'with anon_vma_lazy':>28}")
    table = {}
    for cache in CACHES:
        row = table[cache] = {}
        cells = []
        for mode, boot in ("stock", stock), ("lazy", lazy):
            row[mode] = boot["slab"].get(cache, {"bytes": 0, "objects": 0})
            cells.append(f"{row[mode]['bytes']:,} ({row[mode]['objects']:,})")
        print(f"{cache:18}{cells[0]:>28}{cells[1]:>28}")
    total = {mode: sum(table[cache][mode]["bytes"] for cache in DEFERRED)
             for mode in ("stock", "lazy")}
    percent = 100 * total["lazy"] / total["stock"] if total["stock"] else None
    print(f"{'all but VMAs':18}{total['stock']:>28,}{total['lazy']:>28,}"
          + (f"   {percent:.2f} %" if percent is not None else ""))

    for title, name in (("stats", "stats"), ("rmap_walk of a page of the zygote", "rmap_walk"),
                        ("verify", "verify")):
        print(f"\n{title}:")
        print("\n".join("  " + line for line in lazy[name]))

    if "missed 0" not in lazy["verify"]:
        problems.append("verify does not say: missed 0")
    if not any(line.startswith("ok ") for line in open(f"{directory}/demo-lazy.results")):
        problems.append("the module could not be removed")
    with open(directory + "/demo.json", "w") as file:
        json.dump({"slab": table, "total": total, "percent": percent, "problems": problems,
                   "stats": dict(line.split() for line in lazy["stats"] if " " in line),
                   "rmap_walk": lazy["rmap_walk"], "verify": lazy["verify"]}, file, indent=4)
    if problems:
        print("\n" + "\n".join("PROBLEM: " + problem for problem in problems))
        sys.exit(1)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
