"""Files of a run: where they may stand, how they are written and put back.

What is published, and when, is left to `engine.outputs.sink`.
"""
