#!/usr/bin/python3
"""Prints every key and value of a hive, as hivex reads them: PATH, NAME, TYPE, BYTES, separated by tabs.

usage: dump-hive.py HIVE     needs the Debian package python3-hivex"""
import sys
import hivex

hive = hivex.Hivex(sys.argv[1])
lines = []


def dump(node, path):
    lines.append('\t'.join([path, '', '', '']))
    for value in hive.node_values(node):
        kind, data = hive.value_value(value)
        lines.append('\t'.join([path, hive.value_key(value), str(kind), data.hex()]))
    for child in hive.node_children(node):
        dump(child, path + '\\' + hive.node_name(child))


dump(hive.root(), '')
print('\n'.join(sorted(lines)))
