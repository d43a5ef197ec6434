"""Models in Azure Blob Storage. Imported only where ``SERVING_MODEL_PATH`` is a URL."""
