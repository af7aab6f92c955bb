#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of anon-vma-lazy on files that were recorded in a guest (scripts/check-tool, SAVE=1).

Ends with "N passed, N failed, N skipped". With BROWSER=PROGRAM its page is opened in that.
"""

import contextlib
import html.parser
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
COMMAND = HERE.parent / "anon-vma-lazy"
RECORDED = HERE / "recorded"
ROOT = RECORDED / "root"
MODULE = "sys/kernel/debug/anon_vma_lazy"
RECORDING = RECORDED / "recording.jsonl"
ABSENT = RECORDED / "absent.jsonl"
ANSWERS = json.loads((RECORDED / "answers.json").read_text())
COMMANDS = ("stat", "top", "show", "tree", "walk", "verify", "compare", "record", "report")

loader = importlib.machinery.SourceFileLoader("tool", str(COMMAND))
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("tool", loader))
loader.exec_module(tool)


def run(*args, stdin=""):
    """Runs the command, in this process. Returns the exit code, the output and the errors."""
    out, err = io.StringIO(), io.StringIO()
    saved = sys.argv, sys.stdin
    sys.argv, sys.stdin = [str(COMMAND), *map(str, args)], io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = tool.main()
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv, sys.stdin = saved
    return status or 0, out.getvalue(), err.getvalue()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def good(self, *args, **options):
        status, out, err = run(*args, **options)
        self.assertEqual((status, err), (0, ""))
        return out

    def json(self, *args, **options):
        return json.loads(self.good("--json", *args, **options))

    def refused(self, code, reason, *args, **options):
        """One line that says why."""
        status, out, err = run(*args, **options)
        self.assertEqual((status, out), (code, ""), err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("anon-vma-lazy: "), err)
        self.assertIn(reason, err)

    def file(self, text, name="file"):
        path = self.dir / name
        path.write_text(text)
        return path

    def lines(self, *items):
        """A recording."""
        return self.file("".join(json.dumps(item) + "\n" for item in items))

    @staticmethod
    def items():
        return [json.loads(line) for line in RECORDING.read_text().splitlines()]


class Files(Case):
    """What the module says."""

    def setUp(self):
        super().setUp()
        self.contexts = (ROOT / MODULE / "contexts").read_text()
        self.answers = ANSWERS["answers"]
        self.pid, self.page = ANSWERS["pid"], ANSWERS["page"]

    def test_contexts(self):
        contexts = tool.parse_contexts(self.contexts)
        self.assertEqual(len(contexts), self.contexts.count("\n"))
        names = {context["comm"] for context in contexts}
        self.assertLessEqual({"family", "child\\nof it", "grand child"}, names)
        self.assertEqual(sum(context["state"] == "dead" for context in contexts), 1)

    def test_hostile_name(self):
        line = self.contexts.splitlines()[0]
        line = line[:line.index(" comm ")] + " comm x comm y pid 3"
        self.assertEqual(tool.parse_contexts(line)[0]["comm"], "x comm y pid 3")
        walk = self.answers[f"rmap_walk {self.pid} {self.page:#x}"]
        name = "x vma 1-2 addr"
        walk = re.sub("comm family ", f"comm {name} ", walk)
        self.assertIn(name, {mapping["comm"] for mapping in tool.parse_walk(walk)["mappings"]})

    def test_vmas(self):
        text = self.answers[f"vmas {self.pid}"]
        process = tool.parse_vmas(text)
        self.assertEqual((process["pid"], process["comm"]), (self.pid, "family"))
        for kind in tool.KINDS:
            self.assertLess(0, process["sums"][kind])
            self.assertEqual(process["sums"][kind], text.count(f" kind {kind} "))
        self.assertEqual([vma["why"] for vma in process["vmas"] if vma["kind"] == "eager"],
                         ["stock"])

    def test_walk(self):
        folio = tool.parse_walk(self.answers[f"rmap_walk {self.pid} {self.page:#x}"])
        self.assertEqual((folio["anchor"], folio["mapcount"], len(folio["mappings"])),
                         ("lazy", 5, 5))

    def test_malformed(self):
        """Whatever is missing or more: one line, no traceback."""
        walk = self.answers[f"rmap_walk {self.pid} {self.page:#x}"]
        vmas = self.answers[f"vmas {self.pid}"]
        for parse, text in ((tool.parse_contexts, self.contexts), (tool.parse_vmas, vmas),
                            (tool.parse_walk, walk)):
            lines = text.splitlines()
            for broken in ([" "], lines + ["x"], ["x 1"] + lines, [line[:-9] for line in lines],
                           [re.sub(r"\d", "x", line) for line in lines], lines[1:] + lines[:1]):
                if parse is tool.parse_contexts and broken == lines[1:] + lines[:1]:
                    continue
                with self.assertRaises(tool.Failure) as caught:
                    parse("\n".join(broken) + "\n")
                self.assertEqual(caught.exception.code, tool.SYSTEM)

    def test_show(self):
        system = tool.System(str(ROOT))
        system.ask = lambda name, question: self.answers[f"{name} {question}"]
        args = tool.arguments().parse_args(["show", str(self.pid)])
        args.json = False
        with contextlib.redirect_stdout(io.StringIO()) as out:
            tool.show(system, args)
        text = out.getvalue()
        self.assertIn("eager: 1 stock\n", text)
        self.assertIn("[heap]", text)
        self.assertIn("displaced", text)


class Machine(Case):
    """A machine whose files were copied."""

    def setUp(self):
        super().setUp()
        self.root = self.dir / "root"
        shutil.copytree(ROOT, self.root)

    def command(self, *args):
        return "--root", self.root, *args

    def test_top(self):
        rows = self.json(*self.command("top"))
        stats = tool.System(str(self.root)).stats()
        # What is saved is the sum, but for what the readers of the two files were themselves.
        self.assertAlmostEqual(sum(row["saved"] for row in rows) / stats["bytes_saved"], 1,
                               delta=0.05)
        text = self.good(*self.command("top", "-n", 2))
        self.assertEqual(len(text.splitlines()), 4)
        self.assertIn(" for 1 that are gone", text)

    def test_tree(self):
        text = self.good(*self.command("tree", ANSWERS["pid"]))
        self.assertRegex(text, r"(?m)^( *)`- \d+ family .*\n(\1   .*\n)+")
        self.assertRegex(text, r"- \(gone\) .*\n.*grand child.*\n.*grand child")
        self.refused(4, "no process 1000000 with a context", *self.command("tree", 1000000))

    def test_verify(self):
        self.assertIn("all mappings are found", self.good(*self.command("verify")))
        path = self.root / MODULE / "verify"
        path.write_text("miss pid 1 comm init address 0x1000 entry present\n"
                        + path.read_text().replace("\nmissed 0", "\nmissed 1"))
        status, out, err = run(*self.command("verify"))
        self.assertEqual((status, err), (1, ""))
        self.assertIn("miss pid 1", out)
        status, out, err = run(*self.command("--json", "verify"))
        self.assertEqual((status, json.loads(out)["misses"]),
                         (1, ["miss pid 1 comm init address 0x1000 entry present"]))

    def test_stat(self):
        text = self.good(*self.command("stat", 0.01, 2))
        self.assertEqual(len(text.splitlines()), 3)
        self.assertEqual(len({len(line) for line in text.splitlines()}), 1)

    def test_record(self):
        path = self.dir / "recording"
        self.good(*self.command("record", "-c", 2, "-i", 0.01, "-o", path))
        self.assertEqual(len(path.read_text().splitlines()), 3)
        self.assertEqual(self.json("--from", path, "top"), self.json(*self.command("top")))
        self.refused(5, "No such file", *self.command("record", "-c", 1, "-o", "/nowhere/file"))

    def test_no_debugfs(self):
        mounts = self.root / "proc/mounts"
        mounts.write_text("".join(line for line in mounts.read_text().splitlines(True)
                                  if " debugfs " not in line))
        shutil.rmtree(self.root / "sys")
        for name in ("stat", "top", "tree", "verify", "record"):
            self.refused(3, "debugfs is not mounted: mount -t debugfs", *self.command(name))

    def test_no_module(self):
        shutil.rmtree(self.root / MODULE)
        self.refused(3, "module anon_vma_lazy is not loaded: insmod", *self.command("stat"))
        (self.root / "sys/module/anon_vma_lazy").mkdir(parents=True)
        self.refused(3, "has debugfs off", *self.command("stat"))

    def test_older_module(self):
        (self.root / MODULE / "contexts").unlink()
        self.refused(3, 'the module has no file "contexts"', *self.command("top"))
        stats = self.root / MODULE / "stats"
        text = stats.read_text()
        for counter in ("vmas_lazy_total", "bytes_saved", "walk_contexts"):
            stats.write_text(re.sub(rf"(?m)^{counter} .*\n", "", text))
            self.refused(3, f'the module has no counter "{counter}"', *self.command("stat", 1, 1))

    def test_older_sizes(self):
        stats = self.root / MODULE / "stats"
        stats.write_text(re.sub(r"(?m)^bytes_per_.*\n", "", stats.read_text()))
        self.refused(3, 'the module has no counter "bytes_per_anon_vma"', *self.command("top"))

    def test_newer_module(self):
        """More counters and fields are no reason to complain."""
        for name, more in (("stats", "new_total 1\n"), ("verify", "new 1\n")):
            with (self.root / MODULE / name).open("a") as file:
                file.write(more)
        path = self.root / MODULE / "contexts"
        path.write_text(path.read_text().replace(" pid ", " new 7 pid "))
        for name in ("top", "tree", "verify"):
            self.good(*self.command(name))
        self.good(*self.command("stat", 0.01, 2))

    def test_not_asked(self):
        """A copy is not written to."""
        (self.root / MODULE / "vmas").write_text("what was here")
        self.refused(2, "running system only", *self.command("show", 1))
        self.refused(2, "running system only", *self.command("walk", 1, "0x1"))
        self.assertEqual((self.root / MODULE / "vmas").read_text(), "what was here")

    def test_no_slab(self):
        (self.root / "proc/slabinfo").unlink()
        self.refused(3, "/proc/slabinfo: No such file", *self.command("stat"))
        (self.root / "proc/slabinfo").write_text("slabinfo - version: 2.1\nanon_vma 1 x\n")
        self.refused(5, "slabinfo: malformed line: anon_vma", *self.command("stat"))


class Arguments(Case):
    def test_program(self):
        """The file, as it is run."""
        done = subprocess.run([COMMAND, "--from", RECORDING, "top"], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         run("--from", RECORDING, "top"))
        done = subprocess.run(f"{COMMAND} --from {RECORDING} stat | head -n 1", shell=True,
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = subprocess.run([COMMAND, "report", self.dir], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (5, ""))

    def test_wrong(self):
        for args in ((), ("nothing",), ("stat", "0"), ("stat", "x"), ("stat", "nan"),
                     ("stat", "1", "0"), ("top", "-n", "-1"), ("show",), ("show", "x"),
                     ("show", "1", "-k", "x"), ("walk", "1"), ("compare", "x"),
                     ("--from", "x", "--root", "y", "top")):
            status, out, err = run(*args)
            self.assertEqual((status, out), (2, ""), args)
            self.assertIn("usage: ", err)
        self.refused(2, "is not a number", "walk", "pfn", "x")
        self.refused(2, "is not a number", "walk", "x", "1")
        self.refused(2, "running system, not a recording", "--from", RECORDING, "record")

    def test_documented(self):
        """All commands and options are in the manual page and the completion."""
        page = (HERE.parent / "anon-vma-lazy.1").read_text().replace("\\-", "-")
        completion = (HERE.parent / "anon-vma-lazy.bash").read_text()
        for name in ("", *COMMANDS):
            text = self.good(*name.split(), "--help")
            options = set(re.findall(r"--[a-z-]+", text.split("options:")[1])) - {"--help"}
            for word in options | set(name.split()):
                self.assertIn(word, completion)
                if word not in ("--number", "--kind", "--interval", "--count", "--output"):
                    self.assertRegex(page, rf"{word}\b")

    def test_completion(self):
        def complete(*words):
            script = (f'source "{HERE.parent}/anon-vma-lazy.bash"; COMP_WORDS=("$@"); '
                      'COMP_CWORD=$(($# - 1)); compopt() { :; }; _anon_vma_lazy; '
                      'printf "%s\\n" "${COMPREPLY[@]}"')
            return set(subprocess.run(["bash", "-c", script, "-", "anon-vma-lazy", *words],
                                      capture_output=True, text=True,
                                      check=True).stdout.split())

        self.assertLessEqual(set(COMMANDS), complete(""))
        self.assertEqual(complete("--from", "x", "re"), {"record", "report"})
        self.assertEqual(complete("show", "-k", "d"), {"displaced"})
        self.assertEqual(complete("walk", "p"), {"pfn"})
        self.assertIn("1", complete("tree", ""))
        self.assertEqual(complete("record", "--s"), {"--slab"})
        self.assertEqual(complete("report", str(RECORDING)[:-3]), {str(RECORDING)})


class Recordings(Case):
    def test_stat(self):
        lines = self.good("--from", RECORDING, "stat").splitlines()
        self.assertEqual(len(lines), len(self.items()))
        rates = [json.loads(line)["per_second"]
                 for line in self.good("--from", RECORDING, "stat", "--json").splitlines()]
        self.assertIsNone(rates[0])
        self.assertLess(0, max(rate["walks"] for rate in rates[1:]))
        self.assertLess(0, max(rate["forks"] for rate in rates[1:]))

    def test_stdin(self):
        text = RECORDING.read_text()
        self.assertEqual(self.good("--from", "-", "top", stdin=text),
                         self.good("--from", RECORDING, "top"))

    def test_parts(self):
        self.refused(5, 'recorded without "stats"', "--from", ABSENT, "top")
        self.refused(5, 'recorded without "stats"', "--from", ABSENT, "stat")
        self.refused(5, 'recorded without "contexts"', "--from", ABSENT, "tree")
        self.refused(5, 'recorded without "vmas"', "--from", RECORDING, "show", 1)
        self.refused(2, "running system only", "--from", RECORDING, "verify")
        self.refused(2, "running system only", "--from", RECORDING, "walk", 1, 1)

    def test_malformed(self):
        header, first, *_ = self.items()
        for reason, *items in (("there is no snapshot", header), ("is no recording", {}),
                               ("is no recording", 1), ("is no recording", first),
                               ("is of version 2", header | {"version": 2}),
                               ('no "time"', header, {}), ('no "time"', header, []),
                               ('no "slab"', header, {"time": 1}),
                               ('no "slab"', header, {"time": 1, "slab": {"anon_vma": 1}}),
                               ('"stats"', header, first | {"stats": {"contexts": "x"}}),
                               ('"contexts"', header, first | {"contexts": [{}]}),
                               ('"vmas"', header, first | {"vmas": {"1": {}}})):
            self.refused(5, reason, "report", self.lines(*items))
        self.refused(5, "there is no snapshot", "report", self.file(""))
        self.refused(5, "No such file", "report", self.dir / "nothing")
        self.refused(5, "Is a directory", "report", self.dir)
        self.refused(5, "line 1: is not JSON", "report", self.file("x\n"))
        path = self.dir / "binary"
        path.write_bytes(bytes(range(256)))
        self.refused(5, "is not text", "report", path)

    def test_cut_off(self):
        """The last line of who was killed."""
        text = RECORDING.read_text()
        whole = len(self.items()) - 1
        self.assertEqual(self.json("report", self.file(text[:-9]))["snapshots"], whole - 1)
        lines = text.splitlines()
        lines[2] = lines[2][:-9]
        self.refused(5, "line 3: is not JSON", "report", self.file("\n".join(lines)))

    def test_random_damage(self):
        """Whatever happened to a recording: it is read, or refused with one line."""
        number = random.Random(1)
        text = RECORDING.read_text()
        seen = set()
        for _ in range(60):
            where = number.randrange(len(text))
            broken = number.choice((
                text[:where] + text[where + number.randrange(1, 40):],
                text[:where] + number.choice(['"', "}", "[", "null", "-", "1e999", "NaN"])
                + text[where:]))
            path = self.file(broken)
            for args in (("report", path), ("--from", path, "stat"), ("--from", path, "tree")):
                status, _, err = run(*args)
                self.assertIn(status, (0, 3, 5), err)
                self.assertEqual(err.count("\n"), status != 0, err)
                seen.add(status)
        self.assertLessEqual({0, 5}, seen)

    def test_deep_tree(self):
        """A chain of forks as long as there can be."""
        header, first, *_ = self.items()
        one = first["contexts"][0]
        first["contexts"] = [one | {"context": n, "parent": n - 1, "pid": n}
                             for n in range(1, 5001)]
        path = self.lines(header, first)
        self.assertEqual(len(self.good("--from", path, "tree").splitlines()), 5000)
        self.assertEqual(self.good("--from", path, "tree", "--json").count('"children"'), 5000)

    def test_lost_parent(self):
        header, first, *_ = self.items()
        first["contexts"] = first["contexts"][-1:]
        text = self.good("--from", self.lines(header, first), "tree")
        self.assertEqual(len(text.splitlines()), 1)


class Compare(Case):
    def test_same(self):
        result = self.json("compare", RECORDING, RECORDING)
        for a, b in [*result["slab"].values(), *result["stats"].values()]:
            self.assertEqual(a, b)
        self.assertIn("100.0 %", self.good("compare", RECORDING, RECORDING))

    def test_absent(self):
        """The same processes, without the module and with it."""
        result = self.json("compare", ABSENT, RECORDING)
        a, b = result["slab"]["all but VMAs"]
        self.assertLess(b["objects"], a["objects"])
        self.assertIsNone(result["stats"]["contexts"][0])
        self.assertRegex(self.good("compare", ABSENT, RECORDING), r"(?m)^contexts +- +\d+ +-$")

    def test_numbers(self):
        items = self.items()
        result = self.json("compare", f"{RECORDING}#0", f"{RECORDING}#-1")
        self.assertEqual(result["stats"]["walks"],
                         [items[1]["stats"]["walks"], items[-1]["stats"]["walks"]])
        self.refused(5, "has 16 snapshots", "compare", RECORDING, f"{RECORDING}#16")

    def test_files(self):
        self.assertIn("anon_vma_chain", self.good("compare", ROOT / "proc/slabinfo", RECORDING))
        self.assertIn("vmas_lazy", self.good("compare", ROOT / MODULE / "stats", RECORDING))
        self.refused(5, "is not JSON", "compare", ROOT / "proc/mounts", RECORDING)


class Html(html.parser.HTMLParser):
    """Is it well-formed, and complete in itself?"""

    EMPTY = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.wrong = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("script", "link", "img", "iframe") or \
                {"src", "href", "onload", "onclick"} & dict(attrs).keys():
            self.wrong.append((tag, attrs))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


class Report(Case):
    def page(self, *items):
        text = self.good("report", self.lines(*items))
        page = Html(text)
        self.assertEqual((page.wrong, page.open), ([], []))
        self.assertNotRegex(text, r"https?:|url\(|@import|NaN|nan|None|inf\b")
        return text, page

    def test_all(self):
        text, page = self.page(*self.items())
        self.assertEqual(page.tags.count("svg"), 7)
        for word in ("Slab bytes", "Contexts", "Walks per second", "prefers-color-scheme: dark",
                     "family", "child\\nof it"):
            self.assertIn(word, text)
        path = self.dir / "page.html"
        self.assertEqual(self.good("report", RECORDING, "-o", path), "")
        self.assertEqual(path.read_text(), self.good("report", RECORDING))
        self.refused(5, "No such file", "report", RECORDING, "-o", self.dir / "no/page.html")

    def test_without_module(self):
        _, page = self.page(*(json.loads(line) for line in ABSENT.read_text().splitlines()))
        self.assertEqual(page.tags.count("svg"), 1)

    def test_one_snapshot(self):
        _, page = self.page(*self.items()[:2])
        self.assertEqual(page.tags.count("svg"), 4)     # no rates

    def test_hostile(self):
        header, first, *_ = self.items()
        name = "<script>alert(1)</script>&\"'"
        first["contexts"][0]["comm"] = name
        text, _ = self.page(header | {"kernel": name, "machine": name}, first)
        self.assertNotIn("<script", text)

    def test_no_cache(self):
        """Caches that were merged with others are not in slabinfo."""
        items = self.items()
        for item in items[1:]:
            del item["slab"]["anon_vma_chain"]
        self.page(*items)

    def test_reloaded(self):
        """No rate is made of counters that started anew."""
        header, *items = self.items()
        for item in items[6:]:
            item["stats"] = {name: 0 if name in ("walks", "forks") else value
                             for name, value in item["stats"].items()}
        text, _ = self.page(header, *items)
        self.assertGreater(text.count("<polyline"),
                           self.page(header, *items[6:])[0].count("<polyline"))
        self.assertNotRegex(text, r"walks: -")

    def test_long(self):
        """A day does not make a page that no browser can show."""
        header, first, *_ = self.items()
        del first["contexts"]
        items = [first | {"time": first["time"] + n} for n in range(5000)]
        text, _ = self.page(header, *items)
        self.assertLess(len(text), 1500000)
        self.assertIn("5000 snapshots", text)

    def test_clock(self):
        """A clock that was set back."""
        header, *items = self.items()
        items[5]["time"] -= 1000
        self.page(header, *items)


BROWSER = os.environ.get("BROWSER")

# What a browser makes of a page.
LOOK = """<script>
const box = element => element.getBoundingClientRect();
const charts = [...document.querySelectorAll("svg")].map(box);
document.title = JSON.stringify({
  background: getComputedStyle(document.body).backgroundColor,
  text: getComputedStyle(document.body).color,
  line: [...document.querySelectorAll("polyline")].map(line => getComputedStyle(line).stroke),
  charts: charts.map(chart => [chart.width, chart.height]),
  apart: charts.every((a, i) => charts.every((b, j) => i === j ||
    a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top)),
  inside: [...document.querySelectorAll("svg text, polyline")].every(element =>
    box(element).left >= box(element.ownerSVGElement).left - 1 &&
    box(element).right <= box(element.ownerSVGElement).right + 1 &&
    box(element).top >= box(element.ownerSVGElement).top - 1 &&
    box(element).bottom <= box(element.ownerSVGElement).bottom + 1),
  wide: document.documentElement.scrollWidth > innerWidth,
  loaded: performance.getEntriesByType("resource").length});
</script></body>"""


class Browser(Case):
    """The page in a browser: it is laid out, in light and in dark, and loads nothing."""

    def look(self, dark, width):
        text = self.good("report", RECORDING).replace("</body>", LOOK)
        page = self.file(text, "page.html")
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
             f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom",
             f"--user-data-dir={self.dir}/profile", page.as_uri()],
            capture_output=True, text=True, check=True, timeout=120)
        return json.loads(html.unescape(re.search("<title>(.*?)</title>", done.stdout)[1]))

    def test_light(self):
        self.check(self.look(False, 1200), "rgb(255, 255, 255)")

    def test_dark(self):
        self.check(self.look(True, 1200), "rgb(22, 24, 27)")

    def test_narrow(self):
        self.check(self.look(False, 500), "rgb(255, 255, 255)")

    def check(self, seen, background):
        self.assertEqual(seen["background"], background)
        self.assertNotEqual(seen["text"], background)
        self.assertEqual(len(seen["charts"]), 7)
        self.assertTrue(all(width > 250 and height > 90 for width, height in seen["charts"]), seen)
        self.assertTrue(seen["apart"] and seen["inside"] and not seen["wide"], seen)
        self.assertEqual(seen["loaded"], 0)
        self.assertLess(2, len(set(seen["line"])))


if not BROWSER:
    del Browser


def main():
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(tests)
    failed = len(result.failures) + len(result.errors)
    skipped = len(result.skipped)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
