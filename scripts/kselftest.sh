# shellcheck shell=dash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own tests, in the guest: sourced by init.sh. RUN ends in lazy with the module, TESTS is
# a list of programs separated by commas, TIMES how often they run. They start as run_vmtests.sh starts
# them, from the directory where they are, on a file system that is not in memory.

kselftest()
{
	echo "KTAP version 1"
	# Or mremap_test fails where its addresses happen to be in use.
	echo 0 >/proc/sys/kernel/randomize_va_space
	# hugetlb-read-hwpoison takes pages, but does not ask for them.
	echo 16 >/proc/sys/vm/nr_hugepages
	mkdir -p /disk
	losetup /dev/loop0 /disk.img && mount -t ext4 /dev/loop0 /disk
	result $? "mount /disk"
	cd /disk || return
	if [ "${RUN%lazy}" != "$RUN" ]; then
		insmod /anon_vma_lazy.ko
		result $? insmod
	fi
	for _ in $(seq "${TIMES:-1}"); do
		while read -r limit command; do
			case ,${TESTS:-${command%% *}}, in
			*,"${command%% *}",*) ;;
			*)	continue ;;
			esac
			# shellcheck disable=SC2086
			subtest "$command" timeout -s KILL "$limit" ./$command
		done </kselftest.list
	done
	cd /
	[ "${RUN%lazy}" != "$RUN" ] || return
	# timeout(1) leaves a process that looks once a second whether it is needed.
	sleep 2
	echo "test: verify, rmmod" >/dev/kmsg
	verify
	result $? verify
	leave
}
