# shorewall 5.2: its own example for two interfaces, and a few rules more.
cp /usr/share/doc/shorewall/examples/two-interfaces/* /etc/shorewall/
sed -i 's/^STARTUP_ENABLED=.*/STARTUP_ENABLED=Yes/' /etc/shorewall/shorewall.conf
cat >> /etc/shorewall/rules <<'RULES'
DNAT            net             loc:192.168.1.10:80     tcp     8080
SSH(ACCEPT)     net             $FW     -       -       -       -       3/min:5
ACCEPT          net:198.51.100.0/24     $FW     tcp     443
REJECT          loc:192.168.1.66        net
RULES
shorewall start
