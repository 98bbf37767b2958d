"""The figures of a bundle as words, tables and pictures, a module for each subject.

Every function takes the subject of a report and returns the blocks of one section, or none. Figures that were not measured are left out or shown as a dash.
"""
