#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""live.py absent|present: anon-vma-lazy where it belongs, in the guest (scripts/check-tool).

Prints KTAP. Afterwards come the files that the tests on the host are about, packed, as comments.
"""

import base64
import io
import json
import mmap
import os
import struct
import subprocess
import sys
import tarfile
import time
import unittest

COMMAND = os.path.join(os.path.dirname(__file__), "..", "anon-vma-lazy")
MODULE = "/sys/kernel/debug/anon_vma_lazy/"
ENABLED = "/sys/module/anon_vma_lazy/parameters/enabled"
PAGE = mmap.PAGESIZE


def run(*args, **options):
    """Runs the command. Returns the exit code, the output and the errors."""
    done = subprocess.run([sys.executable, COMMAND, *map(str, args)], capture_output=True,
                          text=True, check=False, **options)
    return done.returncode, done.stdout, done.stderr


def name(text):
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(text)


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def anonymous(pages, prot=mmap.PROT_READ | mmap.PROT_WRITE):
    return mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=prot)


def small():
    """The addresses of this process's writable VMAs of a page."""
    ranges = [line.split()[0].split("-") for line in read("/proc/self/maps").splitlines()
              if " rw-p " in line]
    return {int(start, 16) for start, end in ranges if int(end, 16) - int(start, 16) == PAGE}


class Family:
    """A process with VMAs of all kinds, three children, one of them gone, two grandchildren."""

    def __init__(self, module):
        answer, report = os.pipe()
        end, self.end = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self.end)
            self.live(report, end, module)
        os.close(end)
        os.close(report)
        with open(answer, "rb") as file:
            self.page = int(file.read())

    def live(self, report, end, module):
        name("family")
        # Neighbours with other flags do not merge; these stay unfaulted.
        maps, pages = [anonymous(1, mmap.PROT_READ)], set()
        for number in range(20):
            before = small()
            maps += [anonymous(1), anonymous(1, mmap.PROT_READ)]
            maps[-2][0] = number
            pages |= small() - before
        moved = anonymous(2)
        moved[0] = 1
        maps.append(anonymous(1, mmap.PROT_READ))
        moved.resize(64 * PAGE)
        if module:
            write(ENABLED, "0")
            maps.append(anonymous(1, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
            maps[-1][0] = 1
            write(ENABLED, "1")
        for _ in range(2):
            if not os.fork():
                name("child\nof it")
                os.close(report)
                self.wait(end)
        gone = os.fork()
        if not gone:
            for _ in range(2):
                if not os.fork():
                    name("grand child")
                    os.close(report)
                    self.wait(end)
            os._exit(0)
        os.waitpid(gone, 0)
        os.write(report, str(min(pages)).encode())
        os.close(report)
        self.wait(end)

    @staticmethod
    def wait(end):
        os.read(end, 1)
        os._exit(0)

    def stop(self):
        os.close(self.end)
        os.waitpid(self.pid, 0)


class Absent(unittest.TestCase):
    """Without the module: what is wrong is said, slabs can be recorded all the same."""

    def refused(self, reason, *args, code=3, **options):
        status, out, err = run(*args, **options)
        self.assertEqual((status, out), (code, ""), err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertIn(reason, err)

    def test_no_module(self):
        for args in (["stat"], ["top"], ["show", 1], ["tree"], ["walk", 1, "0x1000"], ["verify"],
                     ["record"]):
            self.refused("is not loaded: insmod", *args)

    def test_slab(self):
        family = Family(False)
        status, out, err = run("record", "--slab", "-c", 2, "-i", 0.1)
        family.stop()
        self.assertEqual((status, err), (0, ""))
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(len(lines), 3)
        self.assertLess(0, lines[1]["slab"]["anon_vma"]["bytes"])
        self.assertNotIn("stats", lines[1])
        SAVED["absent.jsonl"] = out

    def test_no_root(self):
        self.refused("only root can", "record", "--slab", user=1, group=1)


class Present(Absent):
    """With the module."""

    test_slab = None

    def setUp(self):
        self.family = Family(True)
        self.addCleanup(self.family.stop)
        self.pid = self.family.pid

    def run_json(self, *args):
        status, out, err = run("--json", *args)
        self.assertEqual((status, err), (0, ""), out)
        return json.loads(out)

    def test_no_module(self):
        """Now there is one, but what is asked about is not."""
        self.refused("no process 99999 with an address space", "show", 99999, code=4)
        self.refused("no process 99999 with an address space", "walk", 99999, 0x1000, code=4)
        self.refused("no anonymous page at this address", "walk", self.pid, 0, code=4)
        self.refused("no page in use with this number", "walk", "pfn", 2 ** 40, code=4)

    def test_no_root(self):
        for args in (["stat"], ["top"], ["show", 1], ["tree"], ["verify"], ["record"]):
            self.refused("only root can read", *args, user=1, group=1)

    def test_no_debugfs(self):
        subprocess.run(["/busybox", "umount", "/sys/kernel/debug"], check=True)
        try:
            self.refused("debugfs is not mounted: mount -t debugfs", "stat")
        finally:
            subprocess.run(["/busybox", "mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"],
                           check=True)

    def test_stat(self):
        status, out, err = run("stat", 0.1, 3)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(len(out.splitlines()), 4)
        status, out, err = run("stat", "--json", 0.1, 2)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertIsNone(lines[0]["per_second"])
        self.assertLessEqual(0, lines[1]["per_second"]["walks"])
        self.assertLess(0, lines[1]["stats"]["vmas_lazy"])

    def test_top(self):
        top = self.run_json("top")
        family = next(row for row in top if row["pid"] == self.pid)
        self.assertEqual(family["comm"], "family")
        self.assertLess(0, family["saved"])
        stats = dict(line.split() for line in read(MODULE + "stats").splitlines())
        # Each process that reads is one itself, and changes.
        self.assertAlmostEqual(sum(row["saved"] for row in top) / int(stats["bytes_saved"]), 1,
                               delta=0.1)

    def test_show(self):
        process = self.run_json("show", self.pid)
        self.assertEqual(process["comm"], "family")
        self.assertEqual(process["context"]["pid"], self.pid)
        self.assertLess(20, process["sums"]["natural"])
        self.assertLessEqual(1, process["sums"]["displaced"])
        self.assertLess(20, process["sums"]["unfaulted"])
        self.assertEqual({vma["why"] for vma in process["vmas"] if vma["kind"] == "eager"},
                         {"stock"})
        page = next(vma for vma in process["vmas"]
                    if vma["start"] <= self.family.page < vma["end"])
        self.assertEqual((page["kind"], page["flags"]), ("natural", "rw--"))
        self.assertIn("[heap]", {vma["name"] for vma in process["vmas"]})
        status, out, err = run("show", self.pid, "-k", "displaced")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("eager: 1 stock", out)
        self.assertEqual(out.count(" displaced"), 1 + process["sums"]["displaced"])

    def test_tree(self):
        tree, = self.run_json("tree", self.pid)
        while tree["pid"] != self.pid:
            tree, = [child for child in tree["children"] if self.within(child)]
        self.assertEqual(sorted((child["comm"], child["state"], len(child["children"]))
                                for child in tree["children"])[1:],
                         [("child\\nof it", "live", 0)] * 2)
        gone, = [child for child in tree["children"] if child["state"] == "dead"]
        self.assertEqual([child["comm"] for child in gone["children"]], ["grand child"] * 2)
        status, out, err = run("tree", self.pid)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out.count("- (gone)"), 1)
        self.assertEqual(out.count("grand child"), 2)

    def within(self, tree):
        return tree["pid"] == self.pid or any(map(self.within, tree["children"]))

    def test_walk(self):
        address = self.family.page
        folio = self.run_json("walk", self.pid, hex(address))
        self.assertEqual((folio["anchor"], folio["mapcount"]), ("lazy", 5))
        self.assertEqual(len(folio["mappings"]), 5)
        self.assertEqual({mapping["address"] for mapping in folio["mappings"]},
                         {address // PAGE * PAGE})
        with open(f"/proc/{self.pid}/pagemap", "rb") as file:
            file.seek(address // PAGE * 8)
            pfn = struct.unpack("Q", file.read(8))[0] & (1 << 55) - 1
        self.assertEqual(self.run_json("walk", "pfn", pfn), folio)
        status, out, err = run("walk", "pfn", hex(pfn))
        self.assertEqual((status, err), (0, ""))
        self.assertIn("5 mappings found", out)

    def test_verify(self):
        self.assertEqual(self.run_json("verify")["missed"], 0)
        hide = "/sys/module/anon_vma_lazy/parameters/hide_address"
        write(hide, str(self.family.page))
        try:
            status, out, err = run("verify")
            self.assertEqual((status, err), (1, ""))
            self.assertIn("miss pid", out)
            self.assertIn("mappings are MISSED", out)
        finally:
            write(hide, "0")

    def test_record(self):
        path = "/tmp/recording"
        process = subprocess.Popen([sys.executable, COMMAND, "record", "-c", "16", "-o", path])
        families = []
        while process.poll() is None:
            # More and more, then fewer, and more walks while there are many.
            if len(families) == 8:
                while families:
                    families.pop().stop()
            families.append(Family(True))
            self.assertIn("missed 0\n", read(MODULE + "verify"))
            time.sleep(0.5)
        while families:
            families.pop().stop()
        self.assertEqual(process.returncode, 0)
        status, out, err = run("--from", path, "stat")
        self.assertEqual((status, err, len(out.splitlines())), (0, "", 17))
        self.assertEqual(run("compare", path + "#0", path)[0], 0)
        status, page, err = run("report", path)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(page.count("<svg"), 7)
        SAVED["recording.jsonl"] = read(path)

    def test_record_vmas(self):
        status, out, err = run("record", "--vmas", "-c", 1, "-o", "/tmp/vmas")
        self.assertEqual((status, out, err), (0, "", ""))
        status, out, err = run("--from", "/tmp/vmas", "show", self.pid)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("eager: 1 stock", out)

    def test_interrupted(self):
        process = subprocess.Popen([sys.executable, COMMAND, "record", "-i", "60", "-o",
                                    "/tmp/interrupted"])
        while not os.path.exists("/tmp/interrupted") or read("/tmp/interrupted").count("\n") < 2:
            time.sleep(0.1)
        process.terminate()
        self.assertEqual(process.wait(), 0)
        self.assertEqual(run("--from", "/tmp/interrupted", "top")[0], 0)

    def test_zz_keep(self):
        """What the tests on the host are about: the files as they were here."""
        page = self.family.page
        for path in ("/proc/slabinfo", "/proc/mounts", "/proc/sys/kernel/osrelease",
                     f"/proc/{self.pid}/maps", *(MODULE + file
                                                 for file in ("contexts", "stats", "verify"))):
            SAVED["root" + path] = read(path)
        answers = {}
        for file, question in (("vmas", f"{self.pid}"), ("rmap_walk", f"{self.pid} {page:#x}")):
            with open(MODULE + file, "r+b", buffering=0) as asked:
                asked.write(question.encode())
                answers[f"{file} {question}"] = asked.readall().decode()
        SAVED["answers.json"] = json.dumps({"pid": self.pid, "page": page, "answers": answers},
                                           indent=1) + "\n"


SAVED = {}


class Ktap(unittest.TestResult):
    """Results as the kernel's tests print them."""

    def line(self, status, test, reason=""):
        for line in reason.splitlines():
            print("#", line)
        print(status, self.testsRun, test.id().partition(".")[2], flush=True)

    def addSuccess(self, test):
        self.line("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line("not ok", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.line("not ok", test, self.errors[-1][1])


def main():
    kind = Absent if sys.argv[1] == "absent" else Present
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(kind)
    print("TAP version 13")
    print(f"1..{tests.countTestCases()}", flush=True)
    result = tests.run(Ktap())
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for path, text in SAVED.items():
            info = tarfile.TarInfo(path)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    packed = base64.b64encode(data.getvalue()).decode()
    for start in range(0, len(packed), 72):
        print(f"# {sys.argv[1]}:", packed[start:start + 72])
    return not result.wasSuccessful()


if __name__ == "__main__":
    sys.exit(main())
