"""`python -m playground …`: the use cases without a browser. Exit 0 on success, 2 on bad input with one sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from playground.openmp import brief_waits

os.environ.update(brief_waits(os.environ))  # before torch is imported

from models.errors import ModelError
from playground import bench, push, space, suggest, terminal
from playground.config import OneSentenceParser, add_common_flags, settings_from
from playground.decoding.counts import several
from playground.decoding.trace import Request
from playground.errors import PlaygroundError
from playground.feedback.export import FORMATS
from playground.feedback.export import export as export_votes
from playground.feedback.store import Store
from playground.parts import check_specs, load_parts
from playground.training.commands import add_commands
from playground.training.predictors.bootstrap_commands import add_bootstrap_command
from playground.training.predictors.reproduce_commands import add_reproduce_commands


def parser() -> argparse.ArgumentParser:
    """The command line; every subcommand stores its function under `run`."""
    top = OneSentenceParser(prog="python -m playground", description="Adaptive decoding without a browser.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_generate(commands)
    _add_export(commands)
    suggest.add_command(commands)
    add_commands(commands)
    bench.add_command(commands)
    add_bootstrap_command(commands)
    add_reproduce_commands(commands)
    push.add_command(commands)
    _add_space(commands)
    return top


def _add_generate(commands: argparse._SubParsersAction[OneSentenceParser]) -> None:
    command = commands.add_parser("generate", help="decode one prompt with one or more policies, side by side")
    add = command.add_argument
    add("--prompt", required=True, metavar="TEXT")
    add("--policy", required=True, action="append", metavar="SPEC", help="name or name:key=value,…; once a lane")
    add("--seed", type=int, default=0, metavar="N")
    add("--max-tokens", type=int, default=128, metavar="N")
    add("--prefill", default="", metavar="TEXT", help="the first words of the reply")
    add("--system", metavar="TEXT", help="system prompt")
    add("--source", metavar="TEXT", help="a document put before the prompt; kl-guided compares with and without it")
    add("--stop", action="append", default=[], metavar="TEXT", help="end the reply after this text; may be repeated")
    add("--noise", choices=("own", "shared"), default="own", help="shared: every lane draws the same random numbers")
    add("--json", action="store_true", help="print one trace/1 object a line on stdout, and nothing else there")
    add_common_flags(command)
    command.set_defaults(run=generate)


def _add_export(commands: argparse._SubParsersAction[OneSentenceParser]) -> None:
    command = commands.add_parser("export", help="write the votes to a file, with a manifest beside it")
    command.add_argument("--format", required=True, choices=FORMATS)
    command.add_argument("--out", required=True, metavar="FILE")
    command.add_argument(
        "--include-unblind", action="store_true", help="also votes cast in Compare, where names were seen"
    )
    add_common_flags(command)
    command.set_defaults(run=export)


def _add_space(commands: argparse._SubParsersAction[OneSentenceParser]) -> None:
    command = commands.add_parser("space", help="write a folder ready to push as a Hugging Face Space")
    command.add_argument("--out", required=True, metavar="DIR")
    command.set_defaults(run=lambda flags, environment: space.write(Path(flags.out)))


def generate(flags: argparse.Namespace, environment: Mapping[str, str]) -> None:
    settings = settings_from(vars(flags), environment)
    check_specs(settings, flags.policy)
    parts = load_parts(settings)
    request = Request(
        flags.prompt,
        flags.system,
        flags.prefill,
        tuple(flags.stop),
        flags.seed,
        flags.max_tokens,
        flags.noise,
        flags.source,
    )
    traces = parts.generate(request, flags.policy)
    if flags.json:
        for trace in traces:
            print(terminal.json_line(trace.to_record(), sys.stdout))
    else:
        terminal.write(traces, sys.stdout, sys.stdout.isatty() and "NO_COLOR" not in environment)


def export(flags: argparse.Namespace, environment: Mapping[str, str]) -> None:
    settings = settings_from(vars(flags), environment)
    store = Store.open(settings.sqlalchemy_url, settings.data_folder)
    manifest = export_votes(store, Path(flags.out), flags.format, flags.include_unblind)
    left_out = ", ".join(f"{count} {reason}" for reason, count in manifest["excluded"].items() if count) or "none"
    print(f"{several(manifest['preferences'], 'vote')} written to {flags.out}; left out: {left_out}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run one command; 0, or 2 after one sentence on stderr."""
    terminal.lenient(sys.stdout, sys.stderr)
    flags = parser().parse_args(arguments)
    try:
        flags.run(flags, environment)
    except (PlaygroundError, ModelError) as error:
        print(terminal.harmless(str(error)), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(terminal.harmless(_refusal(error)), file=sys.stderr)
        return 2
    return 0


def _refusal(error: OSError) -> str:
    """What the system refused, in one sentence."""
    why = (error.strerror or str(error) or type(error).__name__)[:300].strip().rstrip(".")
    sentence = f"The system refused what the command needs: {why}."
    if error.filename is not None:
        sentence = f"Every file and folder must be one that the command can use; {error.filename} is not: {why}."
    return " ".join(sentence.split())


if __name__ == "__main__":
    sys.exit(main())
