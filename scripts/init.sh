#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0
#
# /init of the guest. The kernel hands its unknown parameters over as environment: MODE is check,
# soak, tool, kselftest, bench, lazy or stock (the two boots of the demo), TESTS a list of programs
# separated by commas, ONCE those of them that run with enabled=1 only; soak reads MINUTES and SEED.
# Results go to the virtio port, the console is the kernel's alone.

export PATH=/bin
D=/sys/kernel/debug/anon_vma_lazy
P=/sys/module/anon_vma_lazy/parameters
number=${number:-0}

setup()
{
	/bin/busybox mkdir -p /dev /proc /sys /tmp
	/bin/busybox --install -s /bin
	mount -t devtmpfs dev /dev
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t debugfs debugfs /sys/kernel/debug
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mount -t tmpfs tmpfs /tmp
	mkfifo /tmp/output
	mkdir -p /dev/shm
	mount -t tmpfs tmpfs /dev/shm

	echo 768M >/sys/block/zram0/disksize
	mkswap /dev/zram0 >/dev/null
	swapon /dev/zram0
}

# result STATUS NAME: 0 is a pass, 4 is a skip (KSFT_SKIP)
result()
{
	number=$((number + 1))
	case $1 in
	0)	echo "ok $number $2" ;;
	4)	echo "ok $number $2 # SKIP" ;;
	*)	echo "not ok $number $2" ;;
	esac
}

# subtest LABEL COMMAND...: the TAP of the command becomes a subtest. The tests compare counters of
# the whole system, so nothing else may start or end while a program runs: the reader is up before
# it (opening the FIFO waits for that).
subtest()
{
	label=$1
	shift
	echo "test: $label" >/dev/kmsg
	while IFS= read -r line; do
		echo "  $line"
		[ "$line" != "TAP version 13" ] || echo "  # Subtest: $label"
	done </tmp/output &
	reader=$!
	setsid "$@" >/tmp/output 2>&1 &
	wait $!
	status=$?
	# What a failed test left behind would keep the reader waiting.
	end_session $!
	wait $reader
	case $status in
	0 | 1 | 4) ;;
	*)	echo "# $label: exit status $status" ;;
	esac
	result "$status" "$label"
}

end_session()	# PID of its leader
{
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v session="$1" '$6 == session { print $1 }' |
		xargs -r kill -KILL
}

# program NAME ENABLED: one of ours. There is no timeout(1), as the harness has a time limit for
# every test.
program()
{
	[ ! -e $P/enabled ] || echo "$2" >$P/enabled
	subtest "$1 enabled=$2" env ENABLED="$2" "/selftests/$1"
}

verify()
{
	sed 's/^/# /' $D/verify | tee /tmp/verify
	# KSM, which could leave some unchecked, has stopped.
	grep -qx '# missed 0' /tmp/verify && grep -qx '# unchecked 0' /tmp/verify
}

check()
{
	programs=${TESTS:-$(cat /selftests/list)}
	programs=$(echo "$programs" | tr "\n," "  ")
	# Pages are to move when a test says so.
	echo 0 >/proc/sys/vm/compaction_proactiveness

	before='' after=''
	for enabled in 1 0; do
		for name in $programs; do
			case $enabled,$ONCE,/$name in
			0*",$name,"*/*) ;;
			# These load and remove the module themselves.
			*/drain | */load) before="$before $name=$enabled" ;;
			*)	after="$after $name=$enabled" ;;
			esac
		done
	done

	echo "KTAP version 1"
	echo "1..$(($(echo "$before $after" | wc -w) + 4))"
	for run in $before; do
		program "${run%=*}" "${run#*=}"
	done
	insmod /anon_vma_lazy.ko
	result $? insmod
	for run in $after; do
		program "${run%=*}" "${run#*=}"
	done
	finish
}

soak()
{
	echo "KTAP version 1"
	echo "1..5"
	insmod /anon_vma_lazy.ko
	result $? insmod
	program soak 1
	finish
}

# The command, with a Python of its own: see scripts/check-tool.
tool()
{
	echo "KTAP version 1"
	echo "1..5"
	for dir in dev proc sys; do
		mkdir -p /python/$dir
		mount -o rbind /$dir /python/$dir
	done
	subtest "tool absent" chroot /python /usr/bin/python3 /tool/test/live.py absent
	insmod /anon_vma_lazy.ko
	result $? insmod
	subtest "tool enabled=1" chroot /python /usr/bin/python3 /tool/test/live.py present
	finish
}

finish()
{
	echo "test: verify, rmmod" >/dev/kmsg
	verify
	result $? verify
	leave
}

# What is lazy belongs to a running process, and only init is left: execute it once more, disabled.
leave()
{
	echo 0 >$P/enabled
	export number
	MODE=left exec /init
}

left()
{
	awk '/^verify_/ { n[$1] = $2 } END { print "# verified", n["verify_mappings"],
		"missed", n["verify_missed"] }' $D/stats
	# What is there now is there for a process, of which none is left.
	awk '$1 ~ /^(contexts|contexts_dead|families|anon_vmas|vmas_lazy|vmas_displaced)$/ && $2 != 0 {
			print "#", $1, $2; left = 1
		} END { exit left }' $D/stats
	result $? counters
	rmmod anon_vma_lazy && [ ! -e $D ]
	result $? rmmod
	[ ! -e $D ] || sed 's/^/# /' $D/stats

	# Young objects do not count; what it finds goes to the console as well, and fails the run.
	leaks=/sys/kernel/debug/kmemleak
	[ -e $leaks ] || return
	sleep 6
	echo scan >$leaks
	echo scan >$leaks
	sed 's/^/# /' $leaks
}

# Objects in use, and the bytes of all slabs, of the caches that matter
slab()
{
	awk '$1 ~ /^(anon_vma|anon_vma_chain|anon_vma_lazy|vm_area_struct)$/ {
			print "slab", $1, $2, $6 * $15 * 4096
		}' /proc/slabinfo
}

# zygote COMMAND...: the command runs while the workload of the demo is there, which is process $!
zygote()
{
	# It says "ready" when everything is faulted, and goes when its input ends.
	mkfifo /tmp/in /tmp/out
	# To open one end waits for the other, if that is not there, and the end of an orphan interrupts it.
	exec 3<>/tmp/in 4<>/tmp/out
	exec 5</tmp/out
	/selftests/zygote </tmp/in >&4 2>&1 3>&- 4>&- 5<&- &
	exec 4>&-
	read -r answer <&5
	[ "$answer" = ready ] || echo "error zygote says: $answer"
	"$@"
	exec 3>&- 5<&-
	wait $! || { echo "error zygote: exit status $?"; return 1; }
}

demo()
{
	[ "$MODE" = stock ] || insmod /anon_vma_lazy.ko || echo "error insmod failed"
	zygote look
	[ "$MODE" = stock ] || leave
}

look()
{
	slab
	[ "$MODE" = lazy ] || return
	sed 's/^/stats /' $D/stats
	# Some page of the zygote: one of its many mappings.
	address=$(awk '$2 == "rw-p" && $5 == 0 && NF == 5 { sub(/-.*/, "", $1); print $1 }' \
		/proc/$!/maps | sed -n 500p)
	exec 5<>$D/rmap_walk
	echo "$! 0x$address" >&5
	sed 's/^/rmap_walk /' <&5
	exec 5>&-
	sed 's/^/verify /' $D/verify
}

if [ "$MODE" != left ]; then
	setup
	# Only one can have it open: after leave() it is still there.
	exec </dev/null >/dev/vport0p1 2>&1
fi
case ${MODE:-check} in
check)	check ;;
soak)	soak ;;
tool)	tool ;;
left)	left ;;
kselftest | bench)
	# shellcheck disable=SC1090
	. "/$MODE.sh"
	$MODE ;;
*)	demo ;;
esac
poweroff -f
