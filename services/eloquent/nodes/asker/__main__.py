"""Run the node: `python -m eloquent.nodes.asker --help` tells what it takes."""

import sys

from eloquent.nodes.asker.asker import main

sys.exit(main())
