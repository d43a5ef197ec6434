"""A CycloneDX bill of materials of a package: what is redistributed, from which wheel, under which licence."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import Message
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

from tools.package import wheels
from tools.package.site_packages import Part
from tools.package.targets import Target

# No wall-clock time: the same package has the same bill.
_NO_TIME = datetime(1980, 1, 1, tzinfo=UTC)


def write(parts: Iterable[Part], site_packages: Path, target: Target, path: Path) -> None:
    """Write the bill of a package's parts as JSON; raises ValueError where it would not be valid."""
    app = Component(name="keras-functions", type=ComponentType.APPLICATION, bom_ref="app", description=str(target))
    bom = Bom()
    bom.metadata.component, bom.metadata.timestamp = app, _NO_TIME
    components = [_component(part, site_packages) for part in parts]
    bom.components.update(components)
    bom.register_dependency(app, components)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, " ".join(sorted(str(part.pin) for part in parts)) + str(target))
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if errors := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"The bill of materials is not valid CycloneDX: {errors}")
    path.write_text(text + "\n", encoding="utf-8")


def _component(part: Part, site_packages: Path) -> Component:
    purl = PackageURL("pypi", name=part.pin.name, version=part.pin.version)
    licences = licences_of(_metadata(part, site_packages))
    return Component(
        name=part.pin.name,
        version=part.pin.version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[LicenseFactory().make_from_string(licence) for licence in licences],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheels.sha256(part.wheel))],
    )


def _metadata(part: Part, site_packages: Path) -> Message:
    [name] = [name for name in part.files if name.endswith(".dist-info/METADATA")]
    return HeaderParser().parsestr((site_packages / name).read_text(encoding="utf-8"))


def licences_of(metadata: Message) -> list[str]:
    """Return the licences that a distribution's metadata states; raises ValueError where it states none."""
    stated = metadata["License-Expression"] or metadata["License"]
    if stated and "\n" not in stated:
        return [str(stated)]
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")]
    if not classifiers:
        raise ValueError(f"{metadata['Name']} states no licence; it can't be redistributed like this.")
    return [str(text.rpartition(" :: ")[2]) for text in classifiers]
