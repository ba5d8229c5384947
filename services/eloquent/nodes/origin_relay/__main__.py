"""Run the node: `python -m eloquent.nodes.origin_relay --help` tells what it takes."""

import sys

from eloquent.nodes.origin_relay.relay import main

sys.exit(main())
