"""Heads on the Hugging Face Hub: `org/name[@revision]` → a local folder of heads, and a head → a repository.

Only safetensors, their JSON and their cards are fetched, from the top of the repository and never more than FETCHED_MOST
bytes; what a head then must satisfy is checked as for any other folder (models/checkpoints.py). A repository without a
revision is read at its newest commit, which is then the one that every file is taken from.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCardData, constants, get_token, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from models import strict_json
from models.checkpoints import Checkpoint
from models.errors import ModelError
from models.meta import Meta

ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>\w[\w./-]*))?")
DESCRIPTIONS = ["*.json", "*.md"]
HEAD_FILES = ["*.safetensors", *DESCRIPTIONS]
FETCHED_MOST = 1_000_000_000


class _Quiet(tqdm):
    """No bar: heads are small."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "disable": True})


def is_id(where: str) -> bool:
    """Whether `where` has the form org/name or org/name@revision."""
    return ID.fullmatch(where) is not None


def folder(where: str) -> Path:
    """The folder with the heads of a repository, fetched where it is not in the Hub's cache yet.

    Where the Hub cannot be reached, what was fetched before is used. Raises ModelError with one sentence.
    """
    repository, revision = _parts(where)
    with _in_one_sentence(repository, revision):
        wanted = _newest(repository, revision) or revision
        found = snapshot_download(
            repository, revision=wanted, allow_patterns=HEAD_FILES, ignore_patterns=["*/*"], tqdm_class=_Quiet
        )
    return Path(found)


def _newest(repository: str, revision: str | None) -> str | None:
    """The commit that a branch or tag means now; None where the Hub cannot be reached."""
    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except (RevisionNotFoundError, RepositoryNotFoundError):
        raise
    except Exception:  # the network's own errors have no common class that is public; the cache may do
        return None
    size = sum(file.size or 0 for file in info.siblings or () if file.rfilename.endswith(".safetensors"))
    if size > FETCHED_MOST:
        raise ModelError(
            f"{repository} holds {size / 1e9:.1f} GB of safetensors, which are no heads; name a repository made with "
            f"`python -m playground push`, or the model itself with --model."
        )
    return info.sha


def push(heads: Sequence[Checkpoint], to: str, private: bool = False) -> str:
    """Uploads heads with their cards to the repository `to`, made where there is none; returns `to@commit`.

    Heads that it holds already stay, in its README too; one of the same name is replaced.
    The token is that of the login (`hf auth login`) or of HF_TOKEN. Raises ModelError with one sentence.
    """
    repository, revision = _parts(to)
    if revision is not None:
        raise ModelError(f"`to` must be org/name without a revision, got {to!r}.")
    token = get_token()
    if token is None:
        raise ModelError(
            "There is no Hugging Face token here; log in with `hf auth login` or set HF_TOKEN, and push again."
        )
    with _in_one_sentence(repository, None), tempfile.TemporaryDirectory() as scratch:
        there = {head.name: head for head in _described(repository)}
        every = sorted((there | {head.name: head for head in heads}).values(), key=lambda head: head.name)
        for head in heads:
            for suffix in (".safetensors", ".json"):
                source = head.folder / f"{head.name}{suffix}"
                (Path(scratch) / source.name).write_bytes(source.read_bytes())
            (Path(scratch) / f"{head.name}.md").write_text(head.card, encoding="utf-8")
        (Path(scratch) / "README.md").write_text(card(every, repository), encoding="utf-8")
        api = HfApi(token=token)
        api.create_repo(repository, private=private or None, exist_ok=True)
        names = ", ".join(head.name for head in heads)
        done = api.upload_folder(repo_id=repository, folder_path=scratch, commit_message=f"Heads: {names}")
        return f"{repository}@{done.oid}"


def _described(repository: str) -> list[Checkpoint]:
    """The heads that a repository holds, by their descriptions alone; none where there is no repository yet."""
    try:
        info = HfApi().model_info(repository)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return []
    files = {file.rfilename for file in info.siblings or ()}
    place = snapshot_download(
        repository, revision=info.sha, allow_patterns=DESCRIPTIONS, ignore_patterns=["*/*"], tqdm_class=_Quiet
    )
    found = []
    for path in Path(place).glob("*.json"):
        if f"{path.stem}.safetensors" in files:
            with suppress(KeyError, TypeError, ValueError):  # no description of a head
                record = strict_json.loads(path.read_text(encoding="utf-8"))
                found.append(Checkpoint(path.stem, path.parent, Meta.from_record(record), record["weights_sha256"]))
    return found


def card(heads: Sequence[Checkpoint], repository: str) -> str:
    """The repository's README: metadata, how the heads are used, and the card of each."""
    bases = sorted({head.meta.base.model for head in heads})
    data = ModelCardData(
        license="apache-2.0",
        base_model=[base for base in bases if is_id(base)] or None,
        tags=["adaptive-decoding", "temperature", *sorted({head.meta.kind for head in heads})],
    )
    used = "\n".join(
        f"python -m playground generate --model {head.meta.base.model} --checkpoints {repository} "
        f"--policy {head.meta.kind}:checkpoint={head.name} --prompt TEXT"
        for head in heads
        if head.meta.kind not in ("tuned-lens", "difficulty-probe")
    )
    lines = [
        f"---\n{data.to_yaml()}\n---\n",
        "Small predictors of the sampling temperature for a frozen language model, for the adaptive decoding playground.",
        "A head fits the model and the revision that its card names; with any other it is refused.\n",
        *([f"```\n{used}\n```\n"] if used else []),
        *(head.card for head in heads),
    ]
    return "\n".join(lines)


def _parts(where: str) -> tuple[str, str | None]:
    found = ID.fullmatch(where)
    if found is None:
        raise ModelError(f"A repository of heads is named org/name or org/name@revision, got {where!r}.")
    return found["repository"], found["revision"]


@contextmanager
def _in_one_sentence(repository: str, revision: str | None) -> Iterator[None]:
    """Whatever the Hub's library raises becomes one sentence."""
    try:
        yield
    except ModelError:
        raise
    except RevisionNotFoundError as error:
        raise ModelError(f"{repository} has no revision {revision!r}; name a branch, tag or commit of it.") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no repository {repository} on {constants.ENDPOINT} that may be read from here; check its "
            f"name, log in with `hf auth login`, or name an existing folder."
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{repository} could not be fetched: {constants.ENDPOINT} was not reached and nothing of it is in the cache; "
            f"go online, or name a folder of heads."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "use a token with write access to it" if status in (401, 403) else "try again later"
        raise ModelError(f"{constants.ENDPOINT} refused {repository} (status {status}); {remedy}.") from error
    except Exception as error:  # the network's own errors have no common class that is public
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"{repository} could not be reached on {constants.ENDPOINT} ({reason}); check the connection and try again."
        ) from error
