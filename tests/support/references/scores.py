"""Scores vectors of CVSS with another implementation: a vector a line in, its base score in tenths a line out."""

import sys

from cvss import CVSS3, CVSS4

for line in sys.stdin.read().splitlines():
    score = (CVSS4 if line.startswith("CVSS:4") else CVSS3)(line).scores()[0]
    print(round(float(score) * 10))
