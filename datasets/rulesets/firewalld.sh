# firewalld 1.3 with its iptables backend: zones, a set, a forwarded port, rich rules, a policy between zones.
sed -i 's/^FirewallBackend=.*/FirewallBackend=iptables/' /etc/firewalld/firewalld.conf
firewall-offline-cmd --set-log-denied=unicast
firewall-offline-cmd --new-ipset=blocklist --type=hash:net
firewall-offline-cmd --ipset=blocklist --add-entry=192.0.2.0/24
firewall-offline-cmd --zone=drop --add-source=ipset:blocklist
firewall-offline-cmd --zone=external --add-interface=eth0
firewall-offline-cmd --zone=external --add-service=https
firewall-offline-cmd --zone=external --add-port=8000-8010/tcp
firewall-offline-cmd --zone=external --add-forward-port=port=2222:proto=tcp:toport=22:toaddr=192.168.1.10
firewall-offline-cmd --zone=external --add-icmp-block=timestamp-request
firewall-offline-cmd --zone=external --add-rich-rule='rule family=ipv4 source address=198.51.100.0/24
    service name=imaps log prefix="imaps " level=info limit value=3/m accept'
firewall-offline-cmd --zone=internal --add-interface=eth1
firewall-offline-cmd --zone=internal --add-rich-rule='rule family=ipv4 source address=192.168.1.66 reject'
firewall-offline-cmd --new-policy=outwards
firewall-offline-cmd --policy=outwards --add-ingress-zone=internal
firewall-offline-cmd --policy=outwards --add-egress-zone=external
firewall-offline-cmd --policy=outwards --set-target=ACCEPT
dbus-daemon --system --fork
firewalld --nofork --nopid &
until_it_works firewall-cmd --state
