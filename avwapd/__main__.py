"""`python -m avwapd` is the command `avwapd`."""

import sys

from avwapd.cli import main

sys.exit(main())
