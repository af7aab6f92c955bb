#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""profile.py DIR CONSOLE ROW PER SYSTEM_MAP MODULE: count instructions per function in a guest.

Once the console says that the row goes on for ever, QEMU, whose monitor is in DIR, is told to log
every instruction for a moment, and then to end.
"""

import bisect
import collections
import os
import re
import socket
import subprocess
import sys
import time

LEAST = 1.0	# instructions per call, of what is shown


def main(directory, console, row, per, system_map, module):
    """Prints the table."""
    wait_for(console, f"profile {row}")
    trace = os.path.join(directory, "trace")
    log(os.path.join(directory, "monitor"), trace)
    addresses, names = symbols(system_map, module, console)

    counts, calls = collections.Counter(), 0
    part, entry = collections.Counter(), addresses[names.index(per)]
    with open(trace, encoding="ascii") as lines:
        for line in lines:
            found = re.search(r"/([0-9a-f]{16})/", line)
            pc = int(found[1], 16) if found else 0
            if pc < addresses[0]:
                continue
            if pc == entry:
                # What comes before the first call, and after the last, is of no whole one.
                if calls:
                    counts += part
                calls, part = calls + 1, collections.Counter()
            part[names[bisect.bisect_right(addresses, pc) - 1]] += 1
    calls -= 1
    if calls < 1:
        sys.exit(f"{per} was not called twice")
    print(f"{counts.total() / calls:9.1f} instructions per call of {per}, in {calls} calls:")
    for name, count in counts.most_common():
        if count / calls >= LEAST:
            print(f"{count / calls:9.1f}  {name}")


def wait_for(console, text):
    """Until a line of the console says so."""
    while True:
        time.sleep(1)
        if os.path.exists(console):
            with open(console, encoding="utf-8", errors="replace") as lines:
                text_now = lines.read()
            if text in text_now:
                return
            if "Power down" in text_now:
                sys.exit(f"the guest never came to \"{text}\": is there such a row?")


def log(monitor, trace):
    """Has QEMU log instructions for a moment, and end."""
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.connect(monitor)
        # One of the first two is known, by the version.
        for command, seconds in [("", 2), ("one-insn-per-tb on", 0), ("singlestep on", 0),
                                 (f"logfile {trace}", 0), ("log exec,nochain", 3),
                                 ("log none", 0), ("quit", 1)]:
            qemu.send(command.encode() + b"\n")
            time.sleep(seconds + 0.2)
            qemu.setblocking(False)
            try:
                while qemu.recv(65536):
                    pass
            except BlockingIOError:
                pass
            qemu.setblocking(True)


def symbols(system_map, module, console):
    """Sorted addresses of functions, and their names."""
    with open(system_map, encoding="ascii") as lines:
        found = [(int(line.split()[0], 16), line.split()[2]) for line in lines
                 if line.split()[1] in "tTwW"]
    with open(console, encoding="utf-8", errors="replace") as lines:
        base = re.search(r"anon_vma_lazy .* Live (0x[0-9a-f]+)", lines.read())
    if base:
        listing = subprocess.run(["nm", module], check=True, capture_output=True, text=True).stdout
        found += [(int(base[1], 16) + int(line.split()[0], 16), line.split()[2])
                  for line in listing.splitlines() if re.match(r"[0-9a-f]+ [tT] ", line)]
    found.sort()
    return [address for address, _ in found], [name for _, name in found]


if __name__ == "__main__":
    main(*sys.argv[1:])
