# SPDX-License-Identifier: GPL-2.0
"""snapshot.py SOCKET: a Redis saves its keys in the background, while it gets new values for some.

Prints how long its forks took, which it measures itself, and how long it took until a child had
saved all and the new values were there. It is run by Debian's interpreter.
"""

import os
import select
import socket
import statistics
import subprocess
import sys
import time

ROUNDS = 5


def ask(server, question):
    """The answer to an inline command."""
    server.write(question + b"\r\n")
    server.flush()
    answer = server.readline().decode().strip()
    if answer.startswith("-"):
        sys.exit(f"{question.decode()}: {answer}")
    return server.read(int(answer[1:]) + 2).decode() if answer.startswith("$") else answer


def info(server):
    return dict(line.split(":", 1) for line in ask(server, b"INFO").split("\r\n") if ":" in line)


def fill(path, count):
    """So many keys of 20000 get a value of 1000 bytes."""
    subprocess.run(["redis-benchmark", "-s", path, "-t", "set", "-n", str(count), "-r", "20000",
                    "-d", "1000", "-c", "4", "-q"], check=True, stdout=subprocess.DEVNULL)


def main():
    path = sys.argv[1]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    server = connection.makefile("rwb")
    fill(path, 50000)
    pid = info(server)["process_id"]
    forks, saves = [], []
    for _ in range(ROUNDS):
        start = time.monotonic_ns()
        ask(server, b"BGSAVE")
        # Redis itself looks for its end ten times a second only.
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            child = os.pidfd_open(int(file.read()))
        fill(path, 5000)
        select.select([child], [], [])
        saves.append(time.monotonic_ns() - start)
        os.close(child)
        while (state := info(server))["rdb_bgsave_in_progress"] != "0":
            time.sleep(0.1)
        if state["rdb_last_bgsave_status"] != "ok":
            sys.exit("BGSAVE failed")
        forks.append(int(state["latest_fork_usec"]) * 1000)
    print("real_redis_fork", statistics.median(forks), "ns")
    print("real_redis_save", statistics.median(saves), "ns")


main()
