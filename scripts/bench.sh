# shellcheck shell=dash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0
#
# The benchmark, in the guest: sourced by init.sh. RUN is stock (the kernel without the series),
# absent, off (the module with enabled=0), late (set to N once it is loaded) or lazy; TESTS the groups
# to measure, separated by commas.

# used NAME: bytes of anon_vmas, chains and contexts: of their slabs, and of the objects alive
used()
{
	# What only waits to be used goes; then all that is not alive is in the lists that are counted.
	for cache in /sys/kernel/slab/anon_vma*; do
		echo 1 >"$cache/shrink"
	done
	# The shell reads by itself: another process would have objects of its own.
	slabs=0 objects=0
	while read -r cache active _ size _ pages _ _ _ _ _ _ _ _ count _; do
		case $cache in
		anon_vma | anon_vma_chain | anon_vma_lazy)
			slabs=$((slabs + count * pages * 4096))
			objects=$((objects + active * size)) ;;
		esac
	done </proc/slabinfo
	echo "  $1 $slabs bytes"
	echo "  $1_objects $objects bytes"
}

# Thirty shells, each with a program that it waits for, below another one. They are Debian's, as
# each library has VMAs.
processes()
{
	# shellcheck disable=SC2016
	setsid chroot /debian dash -c '
		for i in $(seq 30); do dash -c "sleep 1000; :" & done; wait' &
	while [ "$(pidof sleep | wc -w)" != 30 ]; do
		sleep 1
	done
	sleep 5
	used slab_processes
	end_session $!
	wait
}

# debian NAME COMMAND...: measure a program of Debian
debian()
{
	name=$1
	shift
	subtest "$name" /bench/run "$name" chroot /debian "$@"
}

# What nobody here wrote
real()
{
	cp /bench/*.py /debian/tmp/
	awk 'BEGIN { for (i = 0; i < 50; i++) printf "int f%d(int *a, int n) { int s = %d;" \
		"for (int i = 0; i < n; i++) s += a[i] * %d; return s; }\n", i, i, i + 3 }' >/debian/tmp/f.c
	debian real_hackbench hackbench --pipe --process -g 4 -l 50
	debian real_compile gcc -O2 -o /tmp/f.o -c /tmp/f.c
	python
	redis
	postgresql
}

python()
{
	debian real_pool python3 /tmp/interpreter.py pool
	subtest real_fork chroot /debian python3 /tmp/interpreter.py fork
	mkfifo /tmp/hold
	chroot /debian python3 /tmp/interpreter.py hold </tmp/hold >/tmp/held &
	exec 3<>/tmp/hold
	until grep -qs ready /tmp/held || ! kill -0 $!; do
		sleep 1
	done
	used real_slab
	exec 3>&-
	wait $!
	result $? real_slab
}

redis()
{
	chroot /debian redis-server --port 0 --unixsocket /tmp/redis --dir /tmp --save "" >/tmp/log 2>&1 &
	server=$!
	until [ -e /debian/tmp/redis ] || ! kill -0 "$server"; do
		sleep 1
	done
	subtest real_redis chroot /debian python3 /tmp/snapshot.py /tmp/redis
	stop TERM real_redis_stop
}

# The server refuses to be root's.
postgresql()
{
	export PGHOST=/tmp PGUSER=postgres
	as="chroot /debian /usr/sbin/chroot --userspec=70:70 /"
	bin=$(cd /debian && echo usr/lib/postgresql/*/bin)
	echo postgres:x:70:70::/tmp:/bin/sh >/debian/etc/passwd
	$as "$bin/initdb" -D /tmp/data -A trust -N --no-locale -E UTF8 >/tmp/log 2>&1
	$as "$bin/postgres" -D /tmp/data -k /tmp -c listen_addresses= -c fsync=off -c jit=off \
		-c autovacuum=off >>/tmp/log 2>&1 &
	server=$!
	until [ -e /debian/tmp/.s.PGSQL.5432 ] || ! kill -0 "$server"; do
		sleep 1
	done
	subtest real_pgbench_init chroot /debian "$bin/pgbench" -i -q
	debian real_pgbench "$bin/pgbench" -n -c 4 -t 100
	debian real_pgbench_connect "$bin/pgbench" -n -c 4 -t 25 -C

	printf 'SELECT 1;\n\\sleep 1000 s\n' >/debian/tmp/idle
	chroot /debian "$bin/pgbench" -n -c 20 -T 1000 -f /tmp/idle &
	clients=$!
	until [ "$(grep -ls '\[local\] idle' /proc/[0-9]*/cmdline | wc -l)" = 20 ] ||
		! kill -0 "$clients"; do
		sleep 1
	done
	used real_pgbench_slab
	kill "$clients"
	wait "$clients"
	stop INT real_postgresql_stop
}

# stop SIGNAL NAME: end the server, whose log tells what is wrong if it did not do well
stop()
{
	kill -s "$1" "$server"
	wait "$server"
	status=$?
	[ $status = 0 ] || sed 's/^/# /' /tmp/log
	result $status "$2"
}

group()
{
	case $1 in
	real)
		real ;;
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
	PATH=/bin:/usr/bin
	mount -t proc proc /debian/proc
	mount --rbind /dev /debian/dev
	# In a memory cgroup, as all processes of a system with services are: what the kernel allocates
	# for them is accounted.
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	mkdir /sys/fs/cgroup/bench
	echo $$ >/sys/fs/cgroup/bench/cgroup.procs
	# Nothing may run beside it.
	echo never >/sys/kernel/mm/transparent_hugepage/enabled
	case $RUN in
	off | late | lazy)
		enabled=Y
		[ "$RUN" != off ] || enabled=N
		insmod /anon_vma_lazy.ko "enabled=$enabled"
		result $? insmod
		[ "$RUN" = lazy ] || echo N >"$P/enabled" ;;
	esac
	for group in $(echo "$TESTS" | tr , ' '); do
		group "$group"
	done
	case $RUN in
	off | late | lazy) leave ;;
	esac
}
