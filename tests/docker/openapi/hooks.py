"""What the tester of the description does not know by itself: our media types."""

import io
import json
import tarfile

import schemathesis


@schemathesis.serializer("application/x-tar")
def tar(_, value):
    """An archive with one file of whatever was made up."""
    content = str(value).encode(errors="replace")
    archive, file = io.BytesIO(), tarfile.TarInfo("file")
    file.size = len(content)
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.addfile(file, io.BytesIO(content))
    return archive.getvalue()


@schemathesis.deserializer("application/x-ndjson")
def lines(_, response):
    """The first line stands for all."""
    first = response.content.decode().partition("\n")[0]
    return json.loads(first) if first else {"container": "", "service": "", "stream": "stdout", "text": ""}
