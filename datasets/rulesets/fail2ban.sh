# fail2ban 1.0: three jails with an action each, and somebody caught in every one.
touch /var/log/auth.log /var/log/fail2ban.log
cat > /etc/fail2ban/jail.local <<'JAILS'
[DEFAULT]
backend = polling
[sshd]
enabled = true
[recidive]
enabled = true
logpath = /var/log/fail2ban.log
banaction = %(banaction_allports)s
[nginx-http-auth]
enabled = true
logpath = /var/log/auth.log
banaction = iptables-ipset-proto6
JAILS
fail2ban-server -b
until_it_works fail2ban-client ping
fail2ban-client set sshd banip 198.51.100.7
fail2ban-client set sshd banip 203.0.113.99
fail2ban-client set recidive banip 192.0.2.0/24
fail2ban-client set nginx-http-auth banip 198.51.100.8
until_it_works iptables --check f2b-sshd --source 203.0.113.99 --jump REJECT
until_it_works ipset test f2b-nginx-http-auth 198.51.100.8
