"""From the project's folder to what is published: the package, the wheelhouse, and the proof that it works."""
