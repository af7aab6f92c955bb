# SPDX-License-Identifier: GPL-2.0
# anon_vma_lazy: build and run. "make help" tells what there is; the work is done by scripts/.

HOST_ARCH := $(patsubst aarch64,arm64,$(shell uname -m))
ARCH ?= $(HOST_ARCH)
V ?= 0
KDIR ?=
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/anon-vma-lazy

# The demo shows the plain kernel. The tests run on the debug one, but where that would be
# emulated for too long.
VARIANT ?= $(if $(filter check,$(MAKECMDGOALS)),$(if $(filter arm64,$(ARCH)),plain,debug),plain)

export ARCH VARIANT V KDIR KERNEL_SRC KCONFIG_EXTRA TESTS ONCE LLVM RUSTC BINDGEN LIBCLANG_PATH
export RUST_LIB_SRC BUSYBOX ACCEL UPDATE RUNS MUTANTS MINUTES SEED BROWSER SPHINXBUILD CPUS JOBS SAVE
export PROFILE PER RUN KCONFIG

.NOTPARALLEL:
.PHONY: all setup kernel modules initramfs demo check check-all check-tool kselftest proof mutants
.PHONY: soak bench profile deb check-deb tool doc paths clean help
all: help

setup:
	@scripts/setup

ifneq ($(SETUP),no)
kernel: setup
endif
kernel:
	@scripts/kernel

ifeq ($(KDIR),)
modules: kernel
endif
modules:
	@scripts/module

initramfs: modules
	@scripts/initramfs

# It needs large packages.
bench: export BENCH = 1
demo check check-tool kselftest soak bench profile: initramfs
	@scripts/$@

# Packages need packages, too, and a kernel of their own.
deb check-deb check-all: export DEB = 1
deb check-deb: override VARIANT = deb
deb: override KCONFIG := $(or $(KCONFIG),running)
deb: modules
	@scripts/deb

check-deb: override KCONFIG := $(or $(KCONFIG),test)
check-deb: modules
	@scripts/deb
	@scripts/check-deb

check-all: setup
	@scripts/check-all

ifneq ($(SETUP),no)
proof mutants: setup
endif
proof mutants:
	@scripts/$@

# tool: of the command anon-vma-lazy, what needs no guest.
tool doc:
	@scripts/$@

paths:
	@scripts/paths

clean:
	rm -rf build

define HELP
Commands:
  make demo        boot the patched kernel without and with the module, side by side
  make check       run all tests; ends with "N passed, N failed, N skipped"
  make proof       run the proofs that need no kernel; ends likewise
  make soak        stress for 30 minutes (MINUTES=), or so; ends likewise
  make bench       measure against stock: a table, charts; "N rows measured, N bounds met, N not met"
  make profile     where the instructions of a row are: PROFILE=walk_leaf PER=rmap_walk_anon
  make tool        test the command anon-vma-lazy on recorded files; ends likewise
  make check-tool  test it in the guest; ends likewise
  make doc         the book as HTML: build/doc/index.html
  make kselftest   run the kernel's own tests of mm: is any worse than on stock? Ends likewise
  make deb         Debian packages of patched kernel, headers, module and command, for this machine
  make check-deb   install such packages in an image of Debian and boot it; ends likewise
And everything at once, for hours:
  make check-all   all proofs, all tests on all kernels, and a table; RUNS="debug arm64-16k" for some
These do first what is missing:
  make setup       install the Debian packages (Debian 12 or 13; needs root)
  make kernel      fetch, patch, configure and build the kernel
  make modules     build anon_vma_lazy.ko; with KDIR=DIR for your own kernel's build directory
  make initramfs   build the kselftests and what QEMU boots
Also:
  make mutants     break the product in many ways: does a test notice each? MUTANTS="name name" for some
  make paths       SOURCE=, KERNEL=, CONFIG=, MODULE=, INITRAMFS= of ARCH and VARIANT (make -s)
  make clean       remove build/; built kernels and sources stay in the cache:
                   $(CACHE) (just remove it)
Variables:
  ARCH=            x86_64 or arm64; now $(ARCH)
  VARIANT=         plain, stock (without the patches), or one kind of checks more:
                   $(filter-out plain stock deb,$(basename $(notdir $(wildcard configs/variants/*.config)))).
                   The default is plain, but debug (lockdep, KASAN and others) for make check
                   (plain for ARCH=arm64, to be done in time)
  V=1              show the commands and all they print
  KERNEL_SRC=      kernel tree or tarball to use instead of Debian's linux-source-7.3
  KCONFIG_EXTRA=   one more configuration fragment
  KCONFIG=         configuration of the kernel that make deb packs: a file, running (this machine's,
                   without the modules that are not loaded) or test (that of make check-deb)
  MINUTES=, SEED=  how long make soak takes, and what it repeats
  BROWSER=         program in which make tool opens a page, too: chromium
  ONCE=            programs that make check does not run with enabled=0 as well
  TESTS=           programs for make check, kselftest or bench, instead of all: TESTS="fault fork"
  CPUS=, JOBS=     for make bench: CPUS of the throughput row (4), boots at once (one per processor)
  SAVE=1           make bench puts its table and charts into Documentation/, make check-tool what it
                   records into tool/test/recorded/
  LLVM=, RUSTC=, BINDGEN=, LIBCLANG_PATH=, RUST_LIB_SRC=   instead of what is found
  SETUP=no         install nothing, use what is there
  ACCEL=           kvm or tcg, instead of what a probe finds
  BUSYBOX=         static busybox for ARCH, instead of Debian's
  UPDATE=1         look for a newer linux-source-7.3
  STALL=, LIMIT=   seconds of silence, or in all, after which a guest counts as hanging
Results are in build/$(ARCH): VARIANT/check.tap, VARIANT/check.json, demo.txt, demo.json, *.console,
log/.
endef

help:
	@: $(info $(HELP))
