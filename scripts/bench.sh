# shellcheck shell=dash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0
#
# The benchmark, in the guest: sourced by init.sh. RUN is stock (the kernel without the series),
# absent, off (the module with enabled=0) or lazy; TESTS the groups to measure, separated by commas.

# used NAME: slab bytes of anon_vmas, chains and contexts, without what only waits to be used
used()
{
	for cache in /sys/kernel/slab/anon_vma*; do
		echo 1 >"$cache/shrink"
	done
	slab | awk -v name="$1" '$2 != "vm_area_struct" { sum += $4 }
		END { print "  " name, sum, "bytes" }'
}

# Thirty shells, each with a program that it waits for, below another one. They are Debian's, as
# each library has VMAs.
processes()
{
	# shellcheck disable=SC2016
	PATH=/debian:$PATH setsid dash -c '
		for i in $(seq 30); do dash -c "sleep 1000; :" & done; wait' &
	while [ "$(pidof sleep | wc -w)" != 30 ]; do
		sleep 1
	done
	sleep 5
	used slab_processes
	end_session $!
	wait
}

group()
{
	case $1 in
	slab)
		processes
		zygote used slab_zygote
		result $? slab ;;
	*)
		subtest "$1" "/bench/$1" ;;
	esac
}

bench()
{
	# In a memory cgroup, as all processes of a system with services are: what the kernel allocates
	# for them is accounted.
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	mkdir /sys/fs/cgroup/bench
	echo $$ >/sys/fs/cgroup/bench/cgroup.procs
	# Nothing may run beside it.
	echo never >/sys/kernel/mm/transparent_hugepage/enabled
	case $RUN in
	off | lazy)
		insmod /anon_vma_lazy.ko
		result $? insmod
		[ "$RUN" = lazy ] || echo 0 >"$P/enabled" ;;
	esac
	for name in $(echo "$TESTS" | tr , ' '); do
		group "$name"
	done
	case $RUN in
	off | lazy) leave ;;
	esac
}
