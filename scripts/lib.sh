# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Common to the other scripts: settings, places, one line per step. The settings come from the
# environment (make exports its variables); a script sources this file first.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SERIES=7.3				# kernel series: patches/$SERIES, linux-source-$SERIES

HOST_ARCH=$(uname -m)
[ "$HOST_ARCH" != aarch64 ] || HOST_ARCH=arm64
ARCH=${ARCH:-$HOST_ARCH}
VARIANT=${VARIANT:-plain}
V=${V:-0}

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/anon-vma-lazy
BUILD=$TOP/build/$ARCH			# tests, demo
OUT=$BUILD/$VARIANT			# module, initramfs and results of the variant
LOG=$BUILD/log

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

case $ARCH in
x86_64)	SRCARCH=x86 DEB_ARCH=amd64 TRIPLE=x86_64-linux-gnu IMAGE=arch/x86/boot/bzImage ;;
arm64)	SRCARCH=arm64 DEB_ARCH=arm64 TRIPLE=aarch64-linux-gnu IMAGE=arch/arm64/boot/Image ;;
*)	die "ARCH=$ARCH: must be x86_64 or arm64" ;;
esac
[ -r "$TOP/configs/variants/$VARIANT.config" ] || die "VARIANT=$VARIANT: must be one of" \
	"$(basename -s .config "$TOP"/configs/variants/* | xargs)"
export ARCH VARIANT SRCARCH DEB_ARCH TRIPLE

hash_of()	# stdin -> 12 hexadecimal digits
{
	sha256sum | cut -c1-12
}

# The release of Debian that this machine runs, and a mirror that it uses.
debian_release()
{
	# shellcheck disable=SC1091
	(. /etc/os-release && echo "$VERSION_CODENAME")
}

debian_mirror()
{
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '!/security/ && !n++'
}

# step LABEL LOG COMMAND...: run a command quietly, its output in $LOG/LOG.log; print one line with
# the time it took, and a sign of life every 30 s. On failure show the end of the log and exit.
step()
{
	local label=$1 log=$LOG/$2.log start=$SECONDS rc
	shift 2

	mkdir -p "$LOG"
	set +e
	if [ "$V" != 0 ]; then
		echo "== $label"
		(set -e; "$@") 2>&1 | tee "$log"
		rc=$?
	else
		alive "$label" "$log" 9>&- &
		(set -e; "$@") >"$log" 2>&1 </dev/null
		rc=$?
		kill $! 2>/dev/null
		wait $! 2>/dev/null
	fi
	set -e
	if [ $rc != 0 ]; then
		[ "$V" != 0 ] || tail -n 30 "$log" | sed 's/^/    | /' >&2
		die "$label failed ($((SECONDS - start)) s); the full log is ${log#"$PWD"/}"
	fi
	printf '  %-50s %4s s\n' "$label" $((SECONDS - start))
}

alive()
{
	local start=$SECONDS
	trap - EXIT
	while sleep 30 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		printf '    ... %s: %s s, %s\n' "${1%% *}" $((SECONDS - start)) \
			"$(tail -n 1 "$2" | tr -s '\t ' ' ' | cut -c1-50)"
	done
}

# What scripts/kernel found out: SOURCE, KOBJ and the toolchain.
load_kernel()
{
	[ -s "$OUT/kernel.env" ] || die "no kernel yet for $ARCH, $VARIANT. Run: make kernel"
	# shellcheck disable=SC1091
	. "$OUT/kernel.env"
}

# kmake ARGS...: make in the kernel source with the toolchain found.
kmake()
{
	make -C "$SOURCE" O="$KOBJ" ARCH="$ARCH" LLVM="$LLVM" RUSTC="$RUSTC" HOSTRUSTC="$RUSTC" \
		BINDGEN="$BINDGEN" RUSTFMT="$RUSTFMT" CLIPPY_DRIVER="$CLIPPY_DRIVER" V="$V" "$@"
}

# link_source SOURCE DIR: links to what the kernel's own tests are built from; they leave files
# beside their sources.
link_source()
{
	rm -rf "$2"
	mkdir -p "$2"
	cp -rs "$(realpath "$1")"/{include,lib,mm,tools} "$2"
}
