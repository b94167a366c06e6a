# ufw 0.36: a web server that is also a gateway.
ufw --force enable
ufw limit ssh
ufw allow 'WWW Full'
ufw allow from 192.168.1.0/24 to any port 53
ufw allow in on eth1 proto tcp from any to any port 8000:8010 comment 'for the people inside'
ufw deny proto udp from any to any port 137:138
ufw reject in on eth0 from 198.51.100.0/24
ufw deny out on eth0 to any port 25
ufw route allow in on eth1 out on eth0
ufw logging medium
