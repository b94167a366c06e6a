"""iptables as real machines write it: tables, chains and rules, read, printed, checked and walked.

words       a line of rules as words with their places
option      options of matches and targets as data, and the kinds of their values
extension   what matches and targets have in common
base        -s -d -i -o -p -f
matches/    one class for each match
targets/    one class for each target
model       rules, chains, tables
"""
