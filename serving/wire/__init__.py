"""Wire formats: pure functions between bytes and arrays, one module each."""
