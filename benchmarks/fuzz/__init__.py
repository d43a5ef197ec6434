"""Damaged and hostile model files, and what becomes of them."""
