# libvirt 9.0: its network "default", 192.168.122.0/24 behind NAT on virbr0.
dbus-daemon --system --fork
virtlogd --daemon
libvirtd --daemon
until_it_works virsh --connect network:///system net-list
virsh --connect network:///system net-start default || true # where it is not started by itself
until_it_works ip address show dev virbr0
