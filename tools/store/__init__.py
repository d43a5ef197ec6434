"""Models in Azure Blob Storage: upload them, and try that on this machine with Azurite, Microsoft's emulator."""
