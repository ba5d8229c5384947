"""Run the node: `python -m eloquent.nodes.viewer --help` tells what it takes."""

import sys

from eloquent.nodes.viewer.viewer import main

sys.exit(main())
