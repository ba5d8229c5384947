"""Run the node: `python -m eloquent.nodes.edge_relay --help` tells what it takes."""

import sys

from eloquent.nodes.edge_relay.relay import main

sys.exit(main())
