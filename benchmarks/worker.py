"""Contenders that need an environment of their own: lleaves and shap.

Usage: build/contenders/bin/python benchmarks/worker.py THREADS, then lines of
KIND, MODEL.txt, FEATURES.npy, ROWS, OUT.npy (or nothing), with tabs between them, on standard
input; the seconds of one call on standard output for each.
"""

import os
import sys
import time
from functools import lru_cache

import numpy as np


def lleaves(model, features, threads):
    """The compiled score; its doubles are made beforehand, which is not timed."""
    import lleaves

    compiled = lleaves.Model(model)
    compiled.compile()
    doubles = features.astype(np.float64)
    return lambda: compiled.predict(doubles, n_jobs=threads)


def shap(model, features, threads):  # noqa: ARG001 - by OMP_NUM_THREADS
    """Shapley values as shap's users ask for them."""
    import lightgbm
    import shap

    booster = lightgbm.Booster(model_file=model)
    explainer = shap.TreeExplainer(booster)
    return lambda: explainer.shap_values(features, check_additivity=False)


KINDS = {"lleaves": lleaves, "shap": shap}


@lru_cache(maxsize=2)
def prepare(kind, model, path, rows, threads):
    """What is done once for a model."""
    return KINDS[kind](model, np.load(path)[:rows], threads)


def main():
    """Answer line by line."""
    threads = int(sys.argv[1])
    answers = os.dup(1)
    os.dup2(2, 1)  # NOTE: LightGBM's own words go to standard output.
    for line in sys.stdin:
        kind, model, path, rows, out = line.rstrip("\n").split("\t")
        call = prepare(kind, model, path, int(rows), threads)
        started = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - started
        if out:
            np.save(out, result)
        os.write(answers, f"{seconds}\n".encode())


if __name__ == "__main__":
    main()
