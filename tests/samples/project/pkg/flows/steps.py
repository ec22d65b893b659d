from pkg.common import REGIONS

FIRST = REGIONS[0]
