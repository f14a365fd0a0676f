"""Finds the class that a strategy's `kind` means: a built-in, or one in a user's own file."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import attrs

from domain.errors import ConfigError, MarketdError
from strategies import BUILT_IN
from strategies.strategy import Strategy, check_strategy

MODULE_PREFIX = "own_strategy_"  # before the number of a user's file in sys.modules
RESERVED = ("kind", "expiry_s", "stake", "stake_percent", "martingale")  # of [strategies.NAME] itself

FailureOf = Callable[[Callable[[], object]], BaseException | None]


class ReadSection(Protocol):
    """`supervisor.read_section.read_section`: makes an attrs class of a table, or raises `ConfigError`."""

    def __call__(self, cls: type[Strategy], table: object, *, where: str) -> Strategy:
        """Return the object that the table describes."""


@attrs.frozen(kw_only=True)
class NewStrategy:
    """Makes fresh strategies of one section. `source` is the text of a user's file, "" for a built-in."""

    cls: type[Strategy]
    source: str
    options: Mapping[str, Any]
    where: str
    read: ReadSection
    failure_of: FailureOf

    def __call__(self) -> Strategy:
        """Return one that has seen nothing; raise `ConfigError` where it cannot be made."""
        self._check_types()
        made: list[Strategy] = []
        failure = self.failure_of(
            lambda: made.append(self.read(self.cls, dict(self.options), where=self.where))
        )
        failure = failure or self.failure_of(lambda: check_strategy(made[0]))
        if failure is not None:
            raise ConfigError(_complaint(failure, self.cls, where=self.where)) from failure
        return made[0]

    def _check_types(self) -> None:
        """Raise where a key is meant for something in the class that is no field, for want of a type."""
        fields = {field.name for field in attrs.fields(self.cls)}
        for key in self.options:
            value = getattr(self.cls, key, None)
            if key not in fields and isinstance(value, bool | int | float | str):
                raise ConfigError(
                    f"{self.where} {key}: {self.cls.__name__} has no type for it: "
                    f"write `{key}: {type(value).__name__} = {value!r}` there"
                )


@attrs.frozen(kw_only=True)
class Loader:
    """Loads strategies. `folder` is the settings file's, which paths of users' files are relative to.

    `failure_of` calls something of a user's and returns what it failed with, None where it did not;
    `nearest` returns a hint at the name that was meant.
    """

    folder: Path
    read: ReadSection
    failure_of: FailureOf
    nearest: Callable[[str, list[str]], str]

    def load(self, *, kind: str, options: Mapping[str, Any], where: str) -> NewStrategy:
        """Return what makes a fresh strategy, having made one to see that it can.

        `where` is how messages call the section, such as `[strategies.mine]`. Raises `ConfigError` that
        names file, line, key and value of what is wrong with the file, the class or the options. A file
        is read anew by each call.
        """
        cls, source = self._find(kind, where=f'{where} kind = "{kind}"')
        new = NewStrategy(
            cls=cls,
            source=source,
            options=options,
            where=where,
            read=self.read,
            failure_of=self.failure_of,
        )
        new()
        return new

    def _find(self, kind: str, *, where: str) -> tuple[type[Strategy], str]:
        if kind in BUILT_IN:
            module_name, class_name = BUILT_IN[kind]
            return getattr(importlib.import_module(module_name), class_name), ""
        file_name, colon, class_name = kind.rpartition(":")
        if not colon or not file_name.endswith(".py"):
            known = ", ".join(f'"{name}"' for name in BUILT_IN)
            hint = self.nearest(kind, list(BUILT_IN))
            raise ConfigError(f'{where}: expected {known} or "FILE.py:CLASS"{hint}')
        path = self.folder / Path(file_name).expanduser()
        try:
            source = path.read_bytes().decode(errors="replace")
        except OSError as exc:
            raise ConfigError(f"{where}: {path}: cannot be read: {exc.strerror}") from exc
        return self._class_in(self._import(path, where=where), class_name, where=f"{where}: {path}"), source

    def _import(self, path: Path, *, where: str) -> ModuleType:
        name = MODULE_PREFIX + str(abs(hash(path.absolute())))
        loader = _Reader(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        before = sys.modules.pop(name, None)
        sys.modules[name] = module  # where attrs looks for what annotations name
        failure = self.failure_of(lambda: loader.exec_module(module))
        if failure is not None:
            del sys.modules[name]
            if before is not None:
                sys.modules[name] = before  # what was made of it goes on
            line = _line_in(path, failure)
            raise ConfigError(f"{where}: {path}{line}: {_words(failure)}") from failure
        return module

    def _class_in(self, module: ModuleType, name: str, *, where: str) -> type[Strategy]:
        own = [key for key, value in vars(module).items() if _is_own(value, module)]
        found = getattr(module, name, None)
        if found is None:
            there = f"; there are {', '.join(own)}" if own else "; there is no strategy in it"
            raise ConfigError(f"{where}: has no class {name}{self.nearest(name, own) or there}")
        if not (isinstance(found, type) and issubclass(found, Strategy)):
            raise ConfigError(f"{where}: {name} is no strategy: its class has to derive from Strategy")
        cls: type[Strategy] = found
        if "__attrs_attrs__" not in vars(cls):  # so that nobody has to know attrs to write a strategy
            cls = attrs.define(cls, kw_only=True, eq=False, slots=False)
        for field in attrs.fields(cls):
            if field.name in RESERVED:
                raise ConfigError(f"{where}: {name} has a field {field.name}, which is a key of the section")
        return cls


class _Reader(SourceFileLoader):
    """Reads a source file as it is now, and leaves no compiled copy beside it."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Raise `OSError`: there is nothing that a compiled copy could be told to be newer by."""
        raise OSError


def _complaint(failure: BaseException, cls: type[Strategy], *, where: str) -> str:
    if isinstance(failure, MarketdError) and str(failure).startswith(where):
        return str(failure)
    if isinstance(failure, MarketdError | ValueError):
        return f"{where} {failure}"
    path = Path(sys.modules[cls.__module__].__file__ or "")
    return f"{where}: {path}{_line_in(path, failure)}: {_words(failure)}"


def _is_own(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__


def _line_in(path: Path, failure: BaseException) -> str:
    """Return ` line N` of the user's file where it failed, as far as that can be told."""
    if isinstance(failure, SyntaxError):
        return f" line {failure.lineno}" if failure.lineno else ""
    line, traceback = 0, failure.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f" line {line}" if line else ""


def _words(failure: BaseException) -> str:
    text = failure.msg if isinstance(failure, SyntaxError) else str(failure)
    return f"{type(failure).__name__}: {text}" if text else type(failure).__name__
