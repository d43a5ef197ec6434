// Alert rules, and whom they notify. Each log rule is a query of alerts/ that returns one number, and a threshold.
param prefix string
param location string
param tags object
param email string
param insightsId string
param appId string
param instanceMemoryMB int
param serverErrorPercent int
param p99Milliseconds int
param memoryPercent int

var rules = [
  {
    name: 'server-errors'
    description: 'More than ${serverErrorPercent} % of the requests are answered with 5xx.'
    severity: 1
    query: loadTextContent('alerts/server-errors.kql')
    column: 'Percent'
    threshold: serverErrorPercent
  }
  {
    name: 'no-success'
    description: 'Requests arrive, but none succeeds.'
    severity: 0
    query: loadTextContent('alerts/no-success.kql')
    column: 'Unanswered'
    threshold: 0
  }
  {
    name: 'slow-answers'
    description: 'The slowest 1 % of the requests takes longer than ${p99Milliseconds} ms.'
    severity: 2
    query: loadTextContent('alerts/slow-answers.kql')
    column: 'P99'
    threshold: p99Milliseconds
  }
  {
    name: 'model-load-failures'
    description: 'A model could not be loaded; the traces say which and why.'
    severity: 1
    query: loadTextContent('alerts/model-load-failures.kql')
    column: 'Failures'
    threshold: 0
  }
]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${prefix}-alerts'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'keras-alerts'
    enabled: true
    emailReceivers: [
      {
        name: 'operator'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${prefix}-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${prefix}: ${rule.name}'
    description: rule.description
    severity: rule.severity
    enabled: true
    scopes: [insightsId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: rule.query
          metricMeasureColumn: rule.column
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: rule.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [group.id]
    }
  }
}]

resource memoryAlert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${prefix}-memory'
  location: 'global'
  tags: tags
  properties: {
    description: 'An instance uses more than ${memoryPercent} % of its ${instanceMemoryMB} MB.'
    severity: 2
    enabled: true
    scopes: [appId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'memory'
          metricNamespace: 'Microsoft.Web/sites'
          metricName: 'MemoryWorkingSet'
          timeAggregation: 'Average'
          operator: 'GreaterThan'
          threshold: instanceMemoryMB * 1024 * 1024 / 100 * memoryPercent
          dimensions: [
            {
              name: 'Instance'
              operator: 'Include'
              values: ['*']
            }
          ]
        }
      ]
    }
    actions: [
      {
        actionGroupId: group.id
      }
    ]
  }
}
