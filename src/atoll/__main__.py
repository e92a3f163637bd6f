"""``python -m atoll`` is ``atoll``."""

import sys

from atoll.cli.main import main

sys.exit(main())
