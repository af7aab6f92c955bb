#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check-deb.sh: a service of the image that scripts/check-deb boots. When the boot is over it looks at
# what the packages made of the machine; results go to the virtio port.
exec >/dev/vport0p1 2>&1

number=0
result()	# STATUS NAME
{
	number=$((number + 1))
	case $1 in
	0)	echo "ok $number $2" ;;
	*)	echo "not ok $number $2" ;;
	esac
}

positive()	# COUNTER...
{
	anon-vma-lazy stat --json 1 1 | python3 -c '
import json, sys
stats = json.load(sys.stdin)["stats"]
sys.exit(not all(stats[name] > 0 for name in sys.argv[1:]))' "$@"
}

echo "KTAP version 1"
echo "1..7"
state=$(systemctl is-system-running --wait)
echo "# system $state"
systemctl --failed --no-legend --plain | sed 's/^/# failed: /'
[ "$state" = running ]
result $? boot
dpkg-query -W "linux-image-$(uname -r)" | sed 's/^/# /'
# The kernel brings lists of its modules, which depmod writes anew.
! dpkg --verify "linux-image-$(uname -r)" "linux-headers-$(uname -r)" \
	"anon-vma-lazy-module-$(uname -r)" anon-vma-lazy | grep -v '/modules\.[a-z.]*$'
result $? packages
modprobe configfs
result $? "module of the kernel"
systemctl is-active --quiet systemd-modules-load.service && grep -q '^anon_vma_lazy ' /proc/modules
result $? "loaded at boot"
# Out of the tree (O), but not unsigned (E).
[ "$(cat /sys/module/anon_vma_lazy/taint)" = O ]
result $? signature
positive contexts vmas_lazy bytes_saved
result $? savings
anon-vma-lazy stat 1 1 | sed 's/^/# stat: /'
anon-vma-lazy top | sed 's/^/# top: /'
anon-vma-lazy verify | sed 's/^/# /'
anon-vma-lazy verify >/dev/null
result $? verify
systemctl poweroff
