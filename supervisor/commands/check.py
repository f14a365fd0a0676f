"""`marketd check`: settings, state directory, tokens, database, clock, disk: a line each. Changes nothing."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from domain.errors import ConfigError
from storage.target import SqliteTarget, Target
from supervisor.commands.check_database import check_database
from supervisor.commands.check_machine import check_clock, check_disk, check_state_dir
from supervisor.commands.check_venues import check_venues
from supervisor.commands.database import target_of
from supervisor.commands.findings import Finding, Level, doubtful, failed, good
from supervisor.settings import Settings, find_config, load, market_specs, state_dir

EXIT_SETTINGS = 78  # EX_CONFIG: the service manager must not restart on it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: `check` has the common flags only."""


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each finding; return 0, 78 where the settings are wrong, 1 where the rest is."""
    try:
        path = find_config(arguments.config)
        settings = load(path)
        state = state_dir(arguments.state_dir, settings)
        target = target_of(settings, config=path, state_dir=state)
        trading = _trading_findings(settings, path=path)
    except ConfigError as exc:
        print(failed("settings", str(exc)))
        return EXIT_SETTINGS
    worst = 0
    others = _other_findings(settings, state, target)
    for finding in (*_settings_findings(settings, path=path), *trading, *others):
        print(finding, flush=True)
        if finding.level is Level.FAILED:
            worst = 1
    return worst


def _settings_findings(settings: Settings, *, path: Path) -> Iterator[Finding]:
    count = len(market_specs(settings))
    if count == 0:
        yield doubtful("settings", f"{path}: no market is named: there is nothing to watch")
    else:
        yield good("settings", f"{path}: markets: {count}, venues: {', '.join(settings.venues)}")
    if settings.unused:
        yield doubtful("settings", f"no effect yet: {', '.join(settings.unused)}")


def _trading_findings(settings: Settings, *, path: Path) -> Sequence[Finding]:
    """Return what is to say of strategies; raise `ConfigError` where one cannot be loaded."""
    if not settings.strategies:
        return ()
    from supervisor.commands.check_trading import check_trading
    from supervisor.terms import load_strategies

    load_strategies(settings, config=path)
    return tuple(check_trading(settings))


def _other_findings(settings: Settings, state: Path, target: Target) -> Iterator[Finding]:
    yield check_state_dir(state)
    yield from check_venues(settings, state=state)
    yield check_database(target, settings=settings.storage, state=state)
    yield check_clock()
    yield check_disk(state)
    if isinstance(target, SqliteTarget) and target.path.parent != state:
        yield check_disk(target.path.parent)
