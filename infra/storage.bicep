// The storage account of the function app: the host's own blobs, and the container of the deployed package. Account
// keys are off, so that only Entra identities have access.
param name string
param location string
param tags object

@description('Who reads and writes the blobs.')
param principalId string

@description('The only subnet that may connect; anyone with a token may if it is empty.')
param subnetId string

@description('Whether there is a container for models.')
param modelStore bool

@description('Who uploads models to it; nobody if it is empty.')
param modelUploaderId string

// The role that the Functions host needs for AzureWebJobsStorage; it includes what the package's container needs.
// It also includes what reading models needs, Storage Blob Data Reader.
var storageBlobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var storageBlobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var modelContainer = 'models'

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    networkAcls: {
      bypass: 'None'
      defaultAction: empty(subnetId) ? 'Allow' : 'Deny'
      virtualNetworkRules: empty(subnetId) ? [] : [
        {
          id: subnetId
        }
      ]
    }
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: 'app-package'
  properties: {
    publicAccess: 'None'
  }
}

resource models 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = if (modelStore) {
  parent: blobs
  name: modelContainer
  properties: {
    publicAccess: 'None'
  }
}

resource uploader 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (modelStore && !empty(modelUploaderId)) {
  name: guid(account.id, modelContainer, modelUploaderId, storageBlobDataContributor)
  scope: models
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataContributor)
    principalId: modelUploaderId
    principalType: 'User'
  }
}

resource owner 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, storageBlobDataOwner)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataOwner)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output blobEndpoint string = account.properties.primaryEndpoints.blob
output packageContainer string = packages.name
output modelContainer string = modelContainer
