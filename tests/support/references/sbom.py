"""Holds a bill of materials from standard input to CycloneDX's own schema and to the package URLs of another
implementation. Prints what is wrong, line by line, and then how many components there are; ends with 1 when
something is wrong."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

text = sys.stdin.buffer.read().decode()
document = json.loads(text)
version = SchemaVersion.from_version(document["specVersion"])
wrong = [str(error) for error in JsonStrictValidator(version).validate_str(text, all_errors=True) or []]

references = {document["metadata"]["component"]["bom-ref"]}
for component in document["components"]:
    if component["bom-ref"] in references:
        wrong.append(f"two components are called {component['bom-ref']}")
    references.add(component["bom-ref"])
    url = component["purl"]
    try:
        parsed = PackageURL.from_string(url)
    except ValueError as error:
        wrong.append(f"{url} is no package URL: {error}")
        continue
    if parsed.to_string() != url:
        wrong.append(f"{url} is spelled {parsed.to_string()}")
    if parsed.version != component["version"]:
        wrong.append(f"{url} has another version than {component['version']}")
    path = "/".join(filter(None, [parsed.namespace, parsed.name]))
    if not path.lower().endswith(str(component["name"]).lower()):
        wrong.append(f"{url} has another name than {component['name']}")
for entry in document["dependencies"]:
    for reference in [entry["ref"], *entry.get("dependsOn", [])]:
        if reference not in references:
            wrong.append(f"no component is called {reference}")

print("\n".join([*wrong, str(len(document["components"]))]))
sys.exit(bool(wrong))
