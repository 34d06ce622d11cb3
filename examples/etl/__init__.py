"""Cleans a folder of CSV files in parallel, step by step, and reports."""
