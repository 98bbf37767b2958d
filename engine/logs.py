"""The log of the engine; `engine.cli.logs` shows it on standard error."""

import logging

LOG = logging.getLogger("engine")
