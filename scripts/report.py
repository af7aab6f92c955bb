#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""report.py SOURCE BASE BOOT PROGRAM...: judge a run of tests; of soak and tool, without enabled=0;
of deb, what its plan says.

Reads BASE.tap (results) and BASE.console (kernel messages), writes BASE.json with the KTAP parser
of the kernel in SOURCE, and prints what failed and, as the last line, "N passed, N failed, N
skipped". BOOT is not 0 when the guest did not end well. The run fails with any failed test, a
program that was to run and did not, a skipped test that could have run there, no test at all, or a
kernel message that tells of a bug.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

BUG = re.compile(
    r"WARNING|BUG[: ]|Oops|Kernel panic|Call [Tt]race|KASAN|UBSAN|KFENCE|lockdep|Bad page|"
    r"bad rss|Bad rss|Bad swap|kmemleak:.*suspected|leak detector disabled|general protection|Unable to handle|"
    r"Objects remaining|refcount_t|rcu:.*stall|blocked for more than|soft lockup|hard LOCKUP|"
    r"INFO: possible|INFO: task|suspicious|Internal error|page dumped|kernel NULL|cut here|"
    r"Out of memory|panicked at|sleeping function|still has locks|list_(add|del) corruption"
)
# Lines of a healthy boot that the pattern above would take for a bug.
HARMLESS = re.compile(r"Lock dependency validator|lockdep_subclasses|Command line:|"
                      r"KernelAddressSanitizer initialized|RCU lockdep checking|"
                      r"Memory failure: Out of memory while machine check handling")
# KCSAN is strict, and finds races all over the kernel. Ours are those in the module, in what Rust
# calls, or in a function that the series changes, be it by way of a list or tree helper, unless the
# access is marked: that answers it.
RACE = "BUG: KCSAN: "
RACE_END = "Reported by Kernel Concurrency Sanitizer on:"
ACCESS = re.compile(r"\] (race at unknown origin|(read|write)\S*( \(\w+\))? to 0x)")
FRAME = re.compile(r"^\[[ 0-9.]+\]  (?:\? )?(\w+)\S*\+0x\S+(?: \[(\w+)\])?")
HELPER = re.compile(r"(__)?(list|hlist|rb|anon_rmap_tree)_")
PATCHES = pathlib.Path(__file__).parent.parent / "patches"
# Tests that need what some kernels (architectures, variants) do not have: fault injection by call
# site; 5-level page tables, which KASAN kernels are booted without; and bpftrace, which no guest has.
MAY_SKIP = {
    re.compile(r"\bnomem\b"): {"plain", "kcsan", "ubsan", "prove", "16k"},
    re.compile(r"\blast_offset$"): {"debug", "kasan", "kmemleak", "arm64"},
    re.compile(r"\bbpftrace$"): {"x86_64", "arm64"},
}


def changed_functions():
    """Functions that the series adds or changes, and their neighbours in its hunks."""
    return {name for patch in PATCHES.glob("*/*.patch")
            for name in re.findall(r"^(?:@@.*@@ |[ +])(?=[a-z_]).*?(\w+)\(",
                                   patch.read_text(), re.MULTILINE)}


def leaves(group, path=""):
    """All test cases of a result tree, as (path, status)."""
    for case in group["test_cases"]:
        yield path + case["name"], case["status"]
    for sub in group["sub_groups"]:
        yield from leaves(sub, path + sub["name"] + ": ")


# What the soak test provokes: in its own memory cgroups processes are killed for want of memory, or
# have exited by then, but something still looks at their memory. No others may be. Both reports, of
# the want and of a victim that takes long to exit, come with a trace.
OOM = re.compile(r"oom-kill:constraint=(?!CONSTRAINT_MEMCG,.*oom_memcg=/anon_vma_lazy_)")
OOM_TRACE = re.compile(r"invoked oom-killer:|oom_reaper: unable to reap pid:\d+ \(soak\)")
OOM_OURS = "Memory cgroup stats for /anon_vma_lazy_"


def our_race(lines, changed):
    """Whether a report of KCSAN, which has one or two stacks, is about our code."""
    innermost = False
    for line in lines:
        if access := ACCESS.search(line):
            innermost = access[3] != " (marked)"
        elif innermost and (frame := FRAME.match(line)) and not HELPER.match(frame[1]):
            if frame[2] == "anon_vma_lazy" or frame[1].startswith("rust_") or frame[1] in changed:
                return True
            innermost = False
    return False


def console(path):
    """Kernel messages that tell of a bug, each with the test during which it came."""
    during, found, trace, ours = "boot", [], False, False
    changed, race = changed_functions(), []
    for line in open(path, errors="replace"):
        line = line.rstrip()
        if RACE in line or race:
            race.append(line)
        if RACE_END in line:
            if our_race(race, changed):
                found.append((during, race[0]))
            race = []
        if " test: " in line:
            during = line.split(" test: ")[1]
        elif OOM_TRACE.search(line):
            trace, ours = True, False
        elif OOM_OURS in line:
            ours = True
        elif trace and "Call Trace:" in line:
            trace = False
        elif ours and "Out of memory and no killable processes" in line:
            ours = False
        elif OOM.search(line):
            found.append((during, line))
        elif BUG.search(line) and not HARMLESS.search(line) and RACE not in line:
            found.append((during, line))
    if our_race(race, changed):
        found.append((during, race[0]))
    return found


def main():
    source, base, boot, *programs = sys.argv[1:]
    kernel = set(pathlib.Path(base).parts[-3:-1])
    kunit = subprocess.run(
        [sys.executable, source + "/tools/testing/kunit/kunit.py", "parse",
         "--json=" + base + ".json", base + ".tap"],
        capture_output=True, text=True, check=False)
    with open(base + ".txt", "w") as file:
        file.write(kunit.stdout + kunit.stderr)

    problems = []
    try:
        with open(base + ".json") as file:
            tests = json.load(file)
    except (OSError, ValueError):
        sys.exit("report.py: kunit.py made nothing of " + base + ".tap: " + kunit.stderr.strip())
    cases = list(leaves(tests))
    counts = tests["misc"]
    passed, skipped = counts["passed"], counts["skipped"]
    failed = counts["failed"] + counts["crashed"]

    # What was to run, did it? A program's own tests are counted, so it must have had some.
    with open(base + ".tap", errors="replace") as file:
        lines = [line.rstrip() for line in file]
    problems += ["failed: " + re.sub(r"^not ok \d+ ", "", line) for line in lines
                 if line.startswith("not ok ")]
    problems += [f"    {status.lower()}: {name}" for name, status in cases
                 if status not in ("PASS", "SKIP") and ": " in name]
    results = [re.sub(r"^(not )?ok \d+ ", "", line) for line in lines
               if re.match(r"(not )?ok \d+ ", line)]
    once = ["soak", "tool"] + os.environ.get("ONCE", "").split()
    wanted = ["insmod"] + [f"{name} enabled={enabled}" for enabled in (1, 0)
                           for name in programs if enabled or name not in once] + [
                               "verify", "counters", "rmmod"]
    if programs == ["deb"]:
        wanted = []
    for name, status in cases:
        if status == "SKIP" and not any(pattern.search(name) and kernel & kernels
                                        for pattern, kernels in MAY_SKIP.items()):
            problems.append("skipped, but must run here: " + name)
            failed += 1
    for name in wanted:
        if not any(result in (name, name + " # SKIP") for result in results):
            problems.append("did not run: " + name)
            failed += 1

    if boot != "0":
        problems.append("the guest did not end by itself")
        failed += 1

    found = console(base + ".console")
    if found:
        problems.append(f"kernel messages tell of a bug ({base}.console):")
        problems += [f"    during {during}: {line}" for during, line in found[:20]]
        failed += 1

    if counts["errors"] and not failed:
        problems.append("the results are not well-formed, see " + base + ".txt")
        failed += 1
    if not passed and not failed:
        problems.append("no test ran")
        failed += 1

    for problem in problems:
        print("  " + problem)
    for counted in filter(None, (re.match(r"# verified (\d+) missed (\d+)$", line) for line in lines)):
        print("{} mappings verified, {} missed; {} kernel reports".format(*counted.groups(), len(found)))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
