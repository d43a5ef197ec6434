// Everything the app needs on Azure, in a resource group of its own: Flex Consumption, storage, logs and alerts.
// infra/README.md says how it was checked.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment; it names the resource group, and the other names are derived from it.')
param environmentName string

@minLength(1)
@description('Region. Which ones have Flex Consumption: az functionapp list-flexconsumption-locations')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@allowed(['3.11', '3.12', '3.13'])
@description('Python that runs the app; the package has to be built for the same one (make package TARGET=3.13).')
param pythonVersion string = '3.13'

@allowed([512, 2048, 4096])
@description('Memory of an instance in MB; its CPU share is proportional. The app takes a third of a GB beside the Functions host before any large model, which leaves little of 512.')
param instanceMemoryMB int = 2048

@minValue(1)
@maxValue(1000)
@description('The most instances that the app scales out to.')
param maximumInstanceCount int = 100

@minValue(0)
@maxValue(1000)
@description('Instances that always run for HTTP, and are always paid for. 0 scales to zero, with a cold start after a pause.')
param alwaysReadyInstances int = 0

@minValue(1)
@maxValue(1000)
@description('Requests that an instance answers at once before Azure adds another. Azure sets 1 for Python apps; this app is async and runs waiting requests as one batch, so it is 16 here, which is what Azure sets for other languages at 2048 MB. Lower it for a model that keeps all cores busy for seconds.')
param httpConcurrency int = 16

@allowed(['Recreate', 'RollingUpdate'])
@description('How a deployment replaces running instances. Recreate, Azure\'s default, ends the requests that they are answering; RollingUpdate lets these finish, but is a preview that not every region has.')
param siteUpdateStrategy string = 'Recreate'

@description('Resource ID of a subnet for the app, delegated to Microsoft.App/environments and with the service endpoint Microsoft.Storage. With one, the storage account takes connections from this subnet only.')
param subnetId string = ''

@description('App settings of the app itself, as in {"SERVING_PRELOAD": "xor"}; the README lists them.')
param servingSettings object = { SERVING_DEFAULT_MODEL: 'xor' }

@description('Have models in a container of the app\'s storage account instead of the package, which has to be built with WITH_STORE=1.')
param modelStore bool = false

@description('Object ID of the user who uploads models there. Account keys are off, so nobody can without it.')
param modelUploaderId string = ''

@minValue(30)
@maxValue(730)
@description('Days that logs are kept.')
param logRetentionDays int = 30

@description('E-mail address for alerts. Without one there are no alert rules.')
param alertEmail string = ''

@minValue(1)
@maxValue(100)
@description('Alert above this share of requests answered with 5xx, in percent.')
param alertServerErrorPercent int = 5

@minValue(1)
@description('Alert if the slowest 1 % of requests takes longer than this many milliseconds.')
param alertP99Milliseconds int = 1000

@minValue(1)
@maxValue(100)
@description('Alert above this share of an instance\'s memory, in percent.')
param alertMemoryPercent int = 85

// Unique worldwide, where names must be, and the same at every deployment.
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-${token}'
    insightsName: 'appi-${token}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
    principalId: identity.outputs.principalId
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    subnetId: subnetId
    modelStore: modelStore
    modelUploaderId: modelUploaderId
  }
}

module app 'function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    name: 'func-${token}'
    planName: 'plan-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    packageContainer: storage.outputs.packageContainer
    insightsConnectionString: monitoring.outputs.connectionString
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    httpConcurrency: httpConcurrency
    siteUpdateStrategy: siteUpdateStrategy
    subnetId: subnetId
    servingSettings: union(servingSettings, modelStore ? {
      SERVING_MODEL_PATH: '${storage.outputs.blobEndpoint}${storage.outputs.modelContainer}'
      AZURE_CLIENT_ID: identity.outputs.clientId
    } : {})
  }
}

module alerts 'alerts.bicep' = if (!empty(alertEmail)) {
  name: 'alerts'
  scope: group
  params: {
    prefix: environmentName
    location: location
    tags: tags
    email: alertEmail
    insightsId: monitoring.outputs.insightsId
    appId: app.outputs.id
    instanceMemoryMB: instanceMemoryMB
    serverErrorPercent: alertServerErrorPercent
    p99Milliseconds: alertP99Milliseconds
    memoryPercent: alertMemoryPercent
  }
}

// azd writes these into its environment; the workflow needs AZURE_FUNCTION_NAME.
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_NAME string = app.outputs.name
output SERVICE_API_NAME string = app.outputs.name
output SERVICE_API_URI string = app.outputs.uri
