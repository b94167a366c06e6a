"""iptables as real machines write it: tables, chains and rules, read, printed, checked and walked.

words       a line of rules as words with their places, and the error that names one
option      options of matches and targets as data, and the kinds of their values
extension   what matches and targets have in common
base        -s -d -i -o -p -f
matches/    one class for each match
targets/    one class for each target
model       rules, chains, tables
call        what a command line can say, as data
parse       a command line, read (loaded: an extension while it is being read; catalogue: what netlab has not)
edit        what the commands do to a table
restore     files of iptables-save, read: all or nothing
save        rules as iptables-save and -S print them
listing     tables as -L prints them
check       what the kernel refuses about rules as a whole
command     the commands iptables, iptables-save and iptables-restore
"""
