"""The contract: resources as pydantic models, their names, and the CRDs made from them.

Imports pydantic and nothing of the rest of the package; everything else may import this.
"""
