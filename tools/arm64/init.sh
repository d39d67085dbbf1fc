#!/bin/sh
# The first and only program of the ARM64 machine: makes the system's folders, runs what the host has brought, switches the machine off.
export PATH=/bin HOME=/root TMPDIR=/tmp
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
hostname arm64
ifconfig lo 127.0.0.1 up
cd /hotpatch
sh /hotpatch/payload/run.sh </dev/null
echo "@ended $?"
poweroff -f
