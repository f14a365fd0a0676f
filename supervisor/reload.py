"""Applies changed settings to a running tree, touching only what changed."""

from typing import Any

import attrs

from domain.events import Event, emit
from supervisor.market_specs import MarketSpec, market_specs
from supervisor.sections import Settings
from supervisor.tree import Tree

NEEDS_RESTART = ("storage", "door")  # sections
KEYS_NEED_RESTART = {  # of sections whose other keys do not
    "service": ("state_dir", "record_frames"),
    "trading": ("mode", "currency", "paper_balance"),  # whose trades these are
}


@attrs.frozen(kw_only=True)
class Changes:
    """What differs between two settings. Venues and markets are named; the rest is said in words."""

    removed_venues: tuple[str, ...]
    changed_venues: tuple[str, ...]
    added_venues: tuple[str, ...]
    removed_markets: tuple[str, ...]
    changed_markets: tuple[MarketSpec, ...]
    reseated_markets: tuple[MarketSpec, ...]  # other strategies, and nothing else
    added_markets: tuple[MarketSpec, ...]
    needs_restart: tuple[str, ...]


def changes(old: Settings, new: Settings) -> Changes:
    """Return what differs. Pure. A changed venue changes all of its markets."""
    before = {spec.id: spec for spec in market_specs(old)}
    after = {spec.id: spec for spec in market_specs(new)}
    changed_venues = {
        name for name, venue in new.venues.items() if name in old.venues and venue != old.venues[name]
    }
    changed = [
        spec
        for market, spec in after.items()
        if market in before and (spec != before[market] or spec.venue in changed_venues)
    ]
    reseated = [
        spec
        for spec in changed
        if spec.venue not in changed_venues and _is_alike_but_for_strategies(spec, before[spec.id])
    ]
    return Changes(
        removed_venues=tuple(name for name in old.venues if name not in new.venues),
        changed_venues=tuple(name for name in new.venues if name in changed_venues),
        added_venues=tuple(name for name in new.venues if name not in old.venues),
        removed_markets=tuple(market for market in before if market not in after),
        changed_markets=tuple(spec for spec in changed if spec not in reseated),
        reseated_markets=tuple(reseated),
        added_markets=tuple(spec for market, spec in after.items() if market not in before),
        needs_restart=_needs_restart(old, new),
    )


def _is_alike_but_for_strategies(one: MarketSpec, other: MarketSpec) -> bool:
    """Return whether nothing but its strategies differs: then its prices need not be interrupted."""
    return attrs.evolve(one, strategies=other.strategies) == other


def _needs_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    sections = [f"[{name}]" for name in NEEDS_RESTART if getattr(old, name) != getattr(new, name)]
    keys = [
        f"[{section}] {name}"
        for section, names in KEYS_NEED_RESTART.items()
        for name in names
        if getattr(getattr(old, section), name) != getattr(getattr(new, section), name)
    ]
    return (*sections, *keys)


def _in_force(old: Settings, new: Settings) -> Settings:
    """Return the new settings with the old ones of what needs a restart."""
    held: dict[str, Any] = {name: getattr(old, name) for name in NEEDS_RESTART}
    for section, names in KEYS_NEED_RESTART.items():
        before = getattr(old, section)
        held[section] = attrs.evolve(getattr(new, section), **{name: getattr(before, name) for name in names})
    return attrs.evolve(new, **held)


def apply(tree: Tree, new: Settings) -> str:
    """Bring the tree to the new settings; return in words what was done. Raises `ConfigError` before that."""
    found = changes(tree.settings, new)
    roster = tree.entrance.load(new)
    for market in (*found.removed_markets, *(spec.id for spec in found.changed_markets)):
        tree.remove_market(market)
    for venue in (*found.removed_venues, *found.changed_venues):
        tree.remove_venue(venue)
    if found.needs_restart:
        emit(
            Event.RELOAD,
            f"changed, but in force only after a restart: {', '.join(found.needs_restart)}",
            actor="tree",
        )
    tree.apply_supervision(_in_force(tree.settings, new))
    tree.entrance.apply(roster, found.reseated_markets)
    for venue in (*found.changed_venues, *found.added_venues):
        tree.add_venue(venue, new.venues[venue])
    for spec in (*found.changed_markets, *found.added_markets):
        tree.add_market(spec)
    return (
        f"{len(found.added_markets)} markets added, {len(found.removed_markets)} removed, "
        f"{len(found.changed_markets) + len(found.reseated_markets)} changed"
    )
