# shellcheck shell=dash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own tests, in the guest: sourced by init.sh. RUN is stock, patched or lazy (with the
# module). It has the environment that run_vmtests.sh expects: a file system that is not in memory
# as the working directory, and /kselftest, with the programs, in the path.

kselftest()
{
	mkdir -p /disk
	mount -t ext4 -o loop /disk.img /disk
	echo "KTAP version 1"
	if [ "$RUN" = lazy ]; then
		insmod /anon_vma_lazy.ko
		result $? insmod
	fi
	cd /disk || return
	PATH=/kselftest:$PATH
	while read -r limit command; do
		# shellcheck disable=SC2086
		subtest "$command" timeout -s KILL "$limit" $command
	done </kselftest/list
	cd /
	umount /disk
	[ "$RUN" = lazy ] || return
	# timeout(1) leaves a process that looks once a second whether it is needed.
	sleep 2
	echo "test: verify, rmmod" >/dev/kmsg
	verify
	result $? verify
	leave
}
