"""Packaging: builds the deployment package and the wheelhouse, and proves that the package works."""
