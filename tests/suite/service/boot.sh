# Makes systemd the first process of the namespaces that this runs in. Its root is below the folder $1, and has
# none of this machine's units in it: programs, kernel file systems, as /test what the folder $2 holds, and as
# /var/lib its folder state.
set -e
root=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 root "$root"
mkdir -p "$root"/{dev,etc,home,proc,root,run,sys,test,tmp,units,usr,var/lib}
mount --rbind /usr "$root/usr"
for link in /bin /lib /lib64 /sbin; do
    [ ! -L "$link" ] || ln -s "usr$link" "$root$link"
done
mount --bind "$2" "$root/test"
mount --bind "$2/state" "$root/var/lib"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
# The group that this is in looks like the first of all.
umount -l "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
# What it has to say is for nobody's terminal.
mount --bind /dev/null "$root/dev/console"
echo root:x:0:0::/root:/bin/sh > "$root/etc/passwd"
echo root:x:0: > "$root/etc/group"
echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
for target in basic shutdown sysinit test; do
    printf '[Unit]\nDefaultDependencies=no\n' > "$root/units/$target.target"
done
exec env -i container=exoscope PATH=/usr/bin:/usr/sbin SYSTEMD_UNIT_PATH=/units SYSTEMD_GENERATOR_PATH= \
    chroot "$root" /lib/systemd/systemd --unit=test.target
