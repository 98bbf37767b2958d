"""Figures as pictures, a module for each subject.

Every position is fixed by the data and by constants, none by the width of a text, so that the bytes
do not depend on the fonts of the machine that draws.
"""
