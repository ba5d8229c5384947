"""Run the node: `python -m eloquent.nodes.link_probe --help` tells what it takes."""

import sys

from eloquent.nodes.link_probe.roles import main

sys.exit(main())
