"""The deployed app has identities instead of keys, and no setting that Flex Consumption refuses."""

import pytest

from tests.infra.bicep import FILES, INFRA, Bicep

# "Flex Consumption plan deprecations" in Microsoft's reference of app settings, and what Resource Manager rejects.
REFUSED = [
    *("FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_CONTENTSHARE"),
    *("SCM_DO_BUILD_DURING_DEPLOYMENT", "ENABLE_ORYX_BUILD", "ftpsState", "linuxFxVersion", "alwaysOn"),
    *("healthCheckPath", "functionAppScaleLimit", "preWarmedInstanceCount", "use32BitWorkerProcess"),
]


def _code(name):
    lines = (INFRA / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("//"))


@pytest.mark.parametrize("setting", REFUSED)
def test_nothing_is_set_that_flex_consumption_refuses(setting):
    assert setting not in _code("function-app.bicep")


@pytest.mark.parametrize("name", FILES)
def test_no_key_is_read(name):
    assert "listKeys" not in _code(name)
    assert "AccountKey" not in _code(name)


def test_storage_takes_identities_only_over_tls():
    properties = Bicep.read("storage.bicep").resource("account")["properties"]

    assert properties["allowSharedKeyAccess"] is False
    assert properties["allowBlobPublicAccess"] is False
    assert properties["supportsHttpsTrafficOnly"] is True
    assert properties["minimumTlsVersion"] == "TLS1_2"


def test_application_insights_takes_identities_only():
    assert Bicep.read("monitoring.bicep").resource("insights")["properties"]["DisableLocalAuth"] is True


def test_the_app_takes_https_of_tls_1_2_and_no_passwords():
    file = Bicep.read("function-app.bicep")
    properties = file.resource("app")["properties"]

    assert properties["httpsOnly"] is True
    assert properties["siteConfig"] == {"minTlsVersion": "1.2", "scmMinTlsVersion": "1.2"}
    assert [file.resource(name)["properties"] for name in ("ftp", "scm")] == [{"allow": False}] * 2


def test_the_app_fetches_its_package_with_its_identity():
    properties = Bicep.read("function-app.bicep").resource("app")["properties"]
    authentication = properties["functionAppConfig"]["deployment"]["storage"]["authentication"]

    assert authentication == {"type": "UserAssignedIdentity", "userAssignedIdentityResourceId": "identityId"}


def test_the_operators_settings_do_not_replace_the_apps_own():
    properties = Bicep.read("function-app.bicep").resource("settings")["properties"]

    assert properties.startswith("union(servingSettings, {")  # of two values of a name union takes the later one


@pytest.mark.parametrize(
    ("file", "resource", "role"),
    [
        ("storage.bicep", "owner", "storageBlobDataOwner"),
        ("monitoring.bicep", "publisher", "monitoringMetricsPublisher"),
    ],
)
def test_the_identity_has_a_role_on_the_one_resource_only(file, resource, role):
    assignment = Bicep.read(file).resource(resource)

    assert assignment["scope"] in ("account", "insights")
    assert assignment["properties"]["principalId"] == "principalId"
    assert f", {role})" in assignment["properties"]["roleDefinitionId"]


def test_storage_takes_connections_from_the_apps_subnet_only_where_there_is_one():
    rules = Bicep.read("storage.bicep").resource("account")["properties"]["networkAcls"]

    assert rules["bypass"] == "None"
    assert rules["defaultAction"] == "empty(subnetId) ? 'Allow' : 'Deny'"
    assert Bicep.read("function-app.bicep").resource("app")["properties"]["virtualNetworkSubnetId"].endswith("subnetId")


def test_a_container_cannot_write_to_its_own_files():
    import yaml

    deployment = yaml.safe_load((INFRA / "kubernetes/deployment.yaml").read_text(encoding="utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")} == {
        "/tmp",
        "/home/LogFiles",
    }


def test_how_instances_are_replaced_is_a_parameter():
    config = Bicep.read("function-app.bicep").resource("app")["properties"]["functionAppConfig"]

    assert config["siteUpdateStrategy"] == {"type": "siteUpdateStrategy"}
