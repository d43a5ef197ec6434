"""A package's bill of materials in CycloneDX's format: each library with its wheel's hash and its licence."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tools.package.errors import PackageError
from tools.package.site_packages import Part
from tools.package.targets import Target

# Not the time of the build: the same package has the same bill.
_NO_TIME = datetime(1980, 1, 1, tzinfo=UTC)


def write(parts: Sequence[Part], target: Target, path: Path) -> None:
    """Write the bill of a package's parts as JSON.

    Raises PackageError where a part states no licence, or the bill would not be valid.
    """
    app = Component(name="keras-functions", type=ComponentType.APPLICATION, bom_ref="app", description=str(target))
    bom = Bom()
    bom.metadata.component, bom.metadata.timestamp = app, _NO_TIME
    components = [_component(part) for part in parts]
    bom.components.update(components)
    bom.register_dependency(app, components)
    pins = sorted(str(part.pin) for part in parts)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, " ".join([str(target), *pins]))
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if errors := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise PackageError(f"The bill of materials is not valid CycloneDX: {errors}")
    path.write_text(text + "\n", encoding="utf-8")


def _component(part: Part) -> Component:
    purl = PackageURL("pypi", name=part.pin.name, version=part.pin.version)
    return Component(
        name=part.pin.name,
        version=part.pin.version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[LicenseFactory().make_from_string(licence) for licence in _licences(part)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.pin.sha256)],
    )


def _licences(part: Part) -> list[str]:
    metadata = HeaderParser().parsestr(part.metadata)
    stated = metadata["License-Expression"] or metadata["License"]
    if stated and "\n" not in stated:
        return [str(stated)]
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")]
    if not classifiers:
        raise PackageError(f"{part.pin.name} states no licence, so it can't be redistributed.")
    return [str(text.rpartition(" :: ")[2]) for text in classifiers]
