"""From a multipart form to text fields and files on disk, all gone when the request ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from harken.http.forms import FormFile, FormLimits, read_form
from harken.serving.routes.fields import BadParameter, Fields, MissingParameter


@asynccontextmanager
async def received_form(request: Request, spool: Path, *, most_files: int = 1) -> AsyncIterator["ReceivedForm"]:
    """The form of a request, whose files are in `spool` for as long as the context lasts.

    Raises what `read_form` raises.
    """
    async with read_form(request, spool, FormLimits(files=most_files)) as form:
        yield ReceivedForm(fields=Fields(form.texts), files=form.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedForm:
    """A form that was read whole. No path comes from what the client calls its files."""

    fields: Fields
    files: dict[str, list[FormFile]]

    def only(self, texts: tuple[str, ...], file: str, *, most: int = 1) -> None:
        """Raises BadParameter where the form holds anything but the text fields `texts` and up to `most` files of the
        name `file`, or none of those.
        """
        self.fields.only((*texts, file))
        for name in self.files:
            if name in texts or name.removesuffix("[]") in texts:
                raise BadParameter(name, f"{name} is a file.", hint="Send it as a text field.")
            Fields({name: [""]}).only((*texts, file))
        if self.fields.given(file):
            raise BadParameter(file, f"{file} is a text field.", hint="Send the audio itself as a file part.")
        if not self.count(file):
            raise MissingParameter(file, hint="Send the audio as a file part of a multipart/form-data body.")
        if self.count(file) > most:
            raise BadParameter(file, f"{file} is given {self.count(file)} times.", hint=f"Send at most {most}.")

    def named(self, file: str) -> list[FormFile]:
        """The files of a name, in order."""
        return [*self.files.get(file, ()), *self.files.get(f"{file}[]", ())]

    def count(self, file: str) -> int:
        return len(self.named(file))

    def size(self, file: str) -> int:
        """Bytes of all files of this name."""
        return sum(upload.size for upload in self.named(file))

    def path(self, file: str) -> Path:
        """The first file of a name, under a random one without an extension."""
        return self.named(file)[0].path
