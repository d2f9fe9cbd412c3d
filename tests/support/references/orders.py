"""Says how other implementations order versions: `ONE<tab>OTHER` lines in; `<`, `=`, `>` lines out, `?` where
one of the two is no version. Face: orders.py pep440 | semver."""

import sys

import semver
from packaging.version import InvalidVersion, Version

READERS = {"pep440": (Version, InvalidVersion), "semver": (semver.Version.parse, ValueError)}

read, refusal = READERS[sys.argv[1]]
for line in sys.stdin.buffer.read().decode().splitlines():
    try:
        one, other = (read(text) for text in line.split("\t"))
        print("<" if one < other else ">" if one > other else "=")
    except refusal:
        print("?")
