#!/bin/sh
# What README says, on a Debian that has nothing but Python and make, as a user without rights:
#   sudo scripts/fresh-debian.sh FOLDER [SUITE [TARGET ...]]      default: bookworm demo
# Needs root and debootstrap; FOLDER becomes the file system of that Debian and is kept, to be removed by hand.
set -eu
folder=$1
suite=${2:-bookworm}
if [ $# -gt 2 ]; then shift 2; else set -- demo; fi
here=$(cd "$(dirname "$0")/.." && pwd)
if [ ! -e "$folder/etc/os-release" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,make,ca-certificates "$suite" "$folder"
fi
cp /etc/resolv.conf "$folder/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
grep -q ^stranger: "$folder/etc/passwd" || chroot "$folder" useradd --create-home stranger
rm -rf "$folder/home/stranger/clone"
mkdir "$folder/home/stranger/clone"
git -C "$here" archive HEAD | tar -x -C "$folder/home/stranger/clone"
chroot "$folder" chown -R stranger /home/stranger
mountpoint -q "$folder/proc" || mount -t proc proc "$folder/proc"
[ -d "$folder/dev/shm" ] || mkdir -m 1777 "$folder/dev/shm"
trap 'umount "$folder/proc"' EXIT
for target in "$@"; do
    chroot "$folder" su - stranger -c "cd clone && make $target" </dev/null
done
