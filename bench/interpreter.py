# SPDX-License-Identifier: GPL-2.0
"""interpreter.py fork|pool|hold: CPython in the guest, with much memory and many modules.

fork prints how long a fork takes, pool lets 16 processes work, hold keeps 24 that have, until its
input ends. It is run by Debian's interpreter.
"""

import multiprocessing
import os
import statistics
import sys
import time
# For their memory
import argparse, ast, csv, decimal, difflib, email, fractions, html, inspect  # noqa pylint: disable=all
import json, logging, optparse, pickle, pprint, random, sqlite3, tarfile, unittest, zipfile  # noqa

DATA = {i: [str(i + j) for j in range(20)] for i in range(5000)}


def work(part):
    """Reads what was inherited, and makes something of it."""
    return json.dumps({key: DATA[key] for key in DATA if key % 64 == part})


def forks():
    for _ in range(30):
        # Of this process alone: the child may run first.
        start = time.thread_time_ns()
        pid = os.fork()
        if not pid:
            os._exit(0)
        yield time.thread_time_ns() - start
        os.waitpid(pid, 0)


def main():
    if sys.argv[1] == "fork":
        print("real_fork", statistics.median(forks()), "ns")
        return
    with multiprocessing.get_context("fork").Pool(16 if sys.argv[1] == "pool" else 24) as pool:
        pool.map(work, range(64), chunksize=1)
        if sys.argv[1] == "hold":
            print("ready", flush=True)
            sys.stdin.read()


main()
