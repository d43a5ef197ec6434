# The app for Premium and Dedicated plans, Container Apps and Kubernetes. Flex Consumption takes the zip instead.
# `make package TARGET=3.13` first: it builds and proves what is copied here, so nothing is installed in this file.
FROM mcr.microsoft.com/azure-functions/python:4-python3.13

# The worker finds the package's libraries by itself on Azure only; elsewhere Python has to be told.
ENV AzureWebJobsScriptRoot=/home/site/wwwroot \
    AzureFunctionsJobHost__Logging__Console__IsEnabled=true \
    PYTHONPATH=/home/site/wwwroot/.python_packages/lib/site-packages

COPY dist/python3.13-linux-x86_64/ /home/site/wwwroot/

# The base image listens on port 80 as root; another user is an open request (Azure/azure-functions-docker, issue 424).
EXPOSE 80

# For docker alone: Azure and Kubernetes have probes of their own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://localhost/api/health/live"]
