"""Run the node: `python -m eloquent.nodes.token_server --help` tells what it takes."""

import sys

from eloquent.nodes.token_server.server import main

sys.exit(main())
