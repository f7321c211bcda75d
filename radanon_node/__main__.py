"""``python -m radanon_node`` is the console script ``radanon``."""

import sys

from radanon_node.cli import main

if __name__ == "__main__":
    sys.exit(main())
