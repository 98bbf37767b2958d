"""Figures as pictures, a module for each subject.

Every position depends on data and constants only, not on the width of a text, so the bytes do not
depend on the fonts of the machine.
"""
