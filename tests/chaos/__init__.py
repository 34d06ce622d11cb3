"""Rounds of mixed load in which everything is killed, frozen, cut off and filled up; then a model says what must hold.

make chaos              20 rounds, each with a seed of its own
make chaos SEED=123     one round again: the same load, the same faults at the same moments
"""
