"""Models: found on disk, loaded once, kept, batched and run. Knows no HTTP and no wire format."""
