"""A command group whose first word may be the argument of its main command: `locum eval medical`, `locum eval show`."""

from __future__ import annotations

from copy import copy
from typing import Any

from typer.core import TyperGroup

RUN = "run"


class DefaultGroup(TyperGroup):
    """A group that takes every first word which is none of its commands as the first argument of its command `run`.

    A domain that is called like a command is still reached, by `run` written out. `--help` shows the arguments and
    options of `run` and the commands on one page.

    The types of Typer's contexts differ between its releases (click's, later its own): hence `Any`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            self._refuse_misspelt(args[0])
            args = [RUN, *args]
        return super().parse_args(ctx, args)

    def _refuse_misspelt(self, word: str) -> None:
        """Refuse what is like a command and is no domain."""
        from locum.adapters.domains import domain_names
        from locum.commands.common import settings
        from locum.errors import NotFoundError
        from locum.text import closest

        meant = closest(word, self.commands, least=0.7)
        if meant and word not in (domains := domain_names(settings().domains)) and not closest(word, domains):
            raise NotFoundError(
                f"there is no command and no domain {word!r}: did you mean {meant}?",
                hint=f"commands: {', '.join(sorted(self.commands))}; domains: {', '.join(domains) or 'none'}",
            )

    def format_help(self, ctx: Any, formatter: Any) -> None:
        page = copy(self)
        page.params = [*self.commands[RUN].params, *self.params]
        super(DefaultGroup, page).format_help(ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*self.commands[RUN].collect_usage_pieces(ctx), "| COMMAND [ARGS]..."]
