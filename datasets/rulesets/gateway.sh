# A gateway to try firewalls on: eth0 outside, eth1 inside. datasets/record_rulesets.py runs this first, then NAME.sh, as
# root in network, mount and process namespaces of their own: what they write to /etc, /var and /run is gone with them.
set -eu
mount --make-rprivate /
mount -t tmpfs scratch /mnt
for folder in etc var; do
    mkdir -p /mnt/$folder/upper /mnt/$folder/work
    mount -t overlay overlay -o lowerdir=/$folder,upperdir=/mnt/$folder/upper,workdir=/mnt/$folder/work /$folder
done
mount -t tmpfs run /run
mkdir /run/lock /run/dbus
# The programs behind iptables, iptables-save and iptables-restore are one: legacy takes the place of nft.
if [ "$VARIANT" = legacy ]; then
    mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi
fi
ip link set lo up
for pair in "eth0 outside 203.0.113.2/24" "eth1 inside 192.168.1.1/24"; do
    set -- $pair
    ip link add $1 type veth peer name $2
    ip address add $3 dev $1
    ip link set $1 up
    ip link set $2 up
done
ip route add default via 203.0.113.1

# Waits until a command succeeds, for 30 seconds at most.
until_it_works() {
    for _ in $(seq 150); do
        "$@" && return
        sleep 0.2
    done
    return 1
}
