"""Pipebell inside other people's orchestrators: Airflow, Prefect, Dagster and dbt.

Each module imports without its product; what needs the product says so when it is asked for. Besides the product only
the plain SDK and the standard library are used, on Python 3.10 and later.
"""
