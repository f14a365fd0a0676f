"""`marketd import` from a real server of another bot's, into both databases, as an operator gives it."""

import datetime
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from daemons import CLOSED_PORT_URL, FIVE, MARKETD, Settings, wait_until
from databases import (
    PASSWORD,
    USER,
    AnyDatabase,
    Batch,
    MariaDB,
    SqliteDatabase,
    open_store,
    stored_ticks,
)
from documents import ROOT, Document

from domain.clock import now_us
from domain.market import Tick
from storage.target import SqliteTarget
from supervisor import lock
from supervisor.cli import run_command

SECOND_US, DAY_US = 1_000_000, 86_400_000_000
# A whole minute some days ago: ticks that are older than 14 days would not be kept.
BASE_S = (now_us() - 3 * DAY_US) // (60 * SECOND_US) * 60
BASE_US = BASE_S * SECOND_US
EUR, GBP = "EURUSD@sim", "GBPUSD@sim"

OLYMP_TICKS = """
[[tables]]
table = "ticks"
kind = "ticks"
symbol_column = "pair"
markets = { "EUR/USD" = "EURUSD@sim", "GBP/USD" = "GBPUSD@sim" }
time = { column = "created_at", form = "datetime", zone = "Asia/Jakarta" }
columns = { price = "value", seq = "id" }
"""

CANDLES = """
[[tables]]
table = "candles_1m"
kind = "candles"
market = "EURUSD@sim"
timeframe_s = 60
time = { column = "t", form = "unix_ms" }
columns = { open = "o", high = "h", low = "l", close = "c", volume = "v" }
"""


@attrs.frozen(kw_only=True)
class Installation:
    """Ours: settings, a state directory and a database; and the other bot's database on a server."""

    folder: Path
    database: AnyDatabase
    server: MariaDB
    theirs: str

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def url(self) -> str:
        return f"mysql://{USER}@127.0.0.1:{self.server.port}/{self.theirs}"

    def ask(self, sql: str) -> None:
        """Run a statement in the other bot's database."""
        self.server.execute(f"USE {self.theirs}")
        self.server.execute(sql)

    def words(self, map_: str, *more: str) -> list[str]:
        config, file = self.folder / "marketd.toml", self.folder / "map.toml"
        settings = Settings(url=CLOSED_PORT_URL, database=self.database, symbols=FIVE)
        config.write_text(settings.text(), encoding="utf-8")
        file.write_text(map_, encoding="utf-8")
        return [
            "import", "--url", self.url, "--map", str(file),
            "--password-file", str(self.server.password_file),
            "--config", str(config), "--state-dir", str(self.state_dir), *more,
        ]  # fmt: skip

    def bring(self, map_: str, *more: str) -> int:
        return run_command(self.words(map_, *more))

    def candles(self) -> list[tuple[object, ...]]:
        return self.database.query(
            "SELECT symbol, timeframe_s, open_us, open, high, low, close, volume, ticks, complete, source "
            "FROM candle JOIN market ON market.id = market_id ORDER BY 1, 2, 3"
        )

    def keep(self, *ticks: Tick) -> None:
        """Store ticks as the daemon does."""
        with open_store(self.database.target) as store:
            store.pool.run(lambda session: store.batches.store(session, Batch(ticks=ticks)))


@pytest.fixture
def home(tmp_path: Path, database: AnyDatabase, mariadb_server: MariaDB) -> Iterator[Installation]:
    """An installation on each database of ours in turn."""
    yield from install(tmp_path, database, mariadb_server)


@pytest.fixture
def embedded(tmp_path: Path, sqlite: SqliteDatabase, mariadb_server: MariaDB) -> Iterator[Installation]:
    """One on the embedded database, where the other one would tell no more."""
    yield from install(tmp_path, sqlite, mariadb_server)


def install(folder: Path, database: AnyDatabase, server: MariaDB) -> Iterator[Installation]:
    server.make_sound()
    theirs = server.new_database()
    yield Installation(folder=folder, database=database, server=server, theirs=theirs)
    server.execute(f"DROP DATABASE {theirs}")


def in_jakarta(ts_us: int) -> str:
    """Return a time as a bot in Jakarta, seven hours ahead all year, would have stored it."""
    return str(datetime.datetime(1970, 1, 1, 7) + datetime.timedelta(microseconds=ts_us))  # noqa: DTZ001


def fill_ticks(home: Installation, rows: list[tuple[str, int, str]]) -> None:
    """Make the other bot's table: pair, time, value; prices are texts."""
    home.ask(
        "CREATE TABLE ticks (id BIGINT AUTO_INCREMENT PRIMARY KEY, pair VARCHAR(20), "
        "created_at DATETIME(6), value VARCHAR(32))"
    )
    values = ", ".join(f"('{pair}', '{in_jakarta(ts_us)}', {value})" for pair, ts_us, value in rows)
    home.ask(f"INSERT INTO ticks (pair, created_at, value) VALUES {values}")


def fill_candles(home: Installation, *rows: tuple[object, ...]) -> None:
    home.ask(
        "CREATE TABLE candles_1m (t BIGINT, o DECIMAL(12,6), h DECIMAL(12,6), l DECIMAL(12,6), "
        "c DECIMAL(12,6), v DOUBLE)"
    )
    home.ask(f"INSERT INTO candles_1m VALUES {', '.join(map(str, rows))}".replace("None", "NULL"))


TWO_MINUTES = [
    (pair, BASE_US + n * 500_000 + 1, f"'{1.1 + n / 1024}'")
    for n in range(240)
    for pair in ("EUR/USD", "GBP/USD")
]


def test_ticks_come_in_with_their_candles_and_a_second_run_adds_nothing(
    home: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_ticks(home, TWO_MINUTES)
    assert home.bring(OLYMP_TICKS) == 0
    expected = [
        Tick(f"{pair.replace('/', '')}@sim", ts_us, n + 1, float(value.strip("'")), None, None, None, ts_us)
        for n, (pair, ts_us, value) in enumerate(TWO_MINUTES)
    ]
    expected = sorted(tick._replace(source="imported") for tick in expected)
    assert stored_ticks(home.database) == expected
    # Two minutes and one interval of five, of each market.
    found = home.candles()
    assert [(row[0], row[1], row[2], row[8], row[9]) for row in found if row[1] == 60] == [
        (symbol, 60, BASE_US + minute * 60 * SECOND_US, 120, 1)
        for symbol in ("EURUSD", "GBPUSD")
        for minute in (0, 1)
    ]
    assert {(row[0], row[1], row[10]) for row in found} == {
        (symbol, timeframe_s, "ticks") for symbol in ("EURUSD", "GBPUSD") for timeframe_s in (60, 300)
    }
    assert "EURUSD@sim: 240 imported\n" in capsys.readouterr().out
    assert home.bring(OLYMP_TICKS) == 0
    assert "EURUSD@sim: 0 imported, 240 there already from an import\n" in capsys.readouterr().out
    assert stored_ticks(home.database) == expected
    assert home.candles() == found


def test_equal_ticks_are_all_kept_where_the_table_numbers_nothing(embedded: Installation) -> None:
    same = [("EUR/USD", BASE_US, "'1.5'")] * 3
    fill_ticks(embedded, [*same, ("EUR/USD", BASE_US, "'1.25'"), ("EUR/USD", BASE_US + 1, "'1.5'")])
    map_ = OLYMP_TICKS.replace(', seq = "id"', "")
    for _ in range(2):
        assert embedded.bring(map_) == 0
        assert [tick[1:4] for tick in stored_ticks(embedded.database)] == [
            (BASE_US, 0, 1.25),
            *[(BASE_US, n, 1.5) for n in (1, 2, 3)],
            (BASE_US + 1, 0, 1.5),
        ]


def test_an_import_that_was_killed_is_completed_by_the_next(embedded: Installation, tmp_path: Path) -> None:
    """The first one dies once some of its rows are there; nobody tells the second of it."""
    fill_ticks(embedded, TWO_MINUTES[:2])
    embedded.ask(
        "INSERT INTO ticks (pair, created_at, value) SELECT IF(seq % 2, 'EUR/USD', 'GBP/USD'), "
        f"'{in_jakarta(BASE_US)}' + INTERVAL seq * 250000 MICROSECOND, 1 + seq % 64 / 64 FROM seq_1_to_30000"
    )
    killed = subprocess.Popen([MARKETD, *embedded.words(OLYMP_TICKS)], stderr=subprocess.PIPE)
    path = tmp_path / "marketd.db"
    wait_until(lambda: path.exists() and has_ticks(embedded.database), what="some rows are there")
    killed.kill()
    killed.communicate()
    assert 0 < len(stored_ticks(embedded.database)) < 30_002, "it was too quick to be killed"
    assert embedded.bring(OLYMP_TICKS) == 0
    other = SqliteDatabase(target=SqliteTarget(path=tmp_path / "other.db"))
    at_once = attrs.evolve(embedded, database=other)
    assert at_once.bring(OLYMP_TICKS) == 0
    assert len(stored_ticks(other)) == 30_002
    assert stored_ticks(embedded.database) == stored_ticks(other)
    assert embedded.candles() == at_once.candles()


def has_ticks(database: AnyDatabase) -> bool:
    try:
        return database.query("SELECT 1 FROM tick LIMIT 1") != []
    except sqlite3.Error:  # not even a table yet
        return False


def test_wrong_rows_are_counted_shown_and_stop_nothing(
    embedded: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    future = now_us() + 3_600 * SECOND_US
    fill_ticks(
        embedded,
        [
            ("EUR/USD", BASE_US, "'1.5'"),
            ("EUR/USD", BASE_US + 1, "NULL"),
            ("EUR/USD", BASE_US + 2, "'nan'"),
            ("EUR/USD", BASE_US + 3, "'-1.5'"),
            ("EUR/USD", BASE_US + 4, "'1,5'"),
            ("XAU/USD", BASE_US, "'9'"),
            ("EUR/USD", future, "'1.5'"),
            ("EUR/USD", BASE_US - 90 * DAY_US, "'1.5'"),
            ("EUR/USD", 1, "'1.5'"),
        ],
    )
    assert embedded.bring(OLYMP_TICKS) == 0
    out = capsys.readouterr().out
    assert [tick[1:4] for tick in stored_ticks(embedded.database)] == [(BASE_US, 1, 1.5)]
    assert "9 rows read" in out
    assert "not imported: 8 rows" in out
    told = re.findall(r"^    (\d+): (.*)$", out, flags=re.MULTILINE)
    assert sorted(told) == sorted([
        ("1", "value is null"),
        ("2", "value is no positive number"),
        ("1", "value is no number"),
        ("1", "pair has no market in the map"),
        ("1", "created_at is in the future"),
        ("1", "created_at is older than [storage] keep_ticks_days = 14: it would be deleted again"),
        ("1", "created_at is before 2000: is the form right?"),
    ])  # fmt: skip
    assert f"value = '1,5' (created_at = {in_jakarta(BASE_US + 4)}, pair = 'EUR/USD'" in out
    assert "without a market: 'XAU/USD' 1" in out


def test_candles_take_the_place_of_nothing_better(
    home: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    minute_us, minute_ms = 60 * SECOND_US, 60_000
    home.keep(Tick(EUR, BASE_US, 0, 9.0, None, None, None, BASE_US))
    place = dict(home.database.query("SELECT symbol, id FROM market"))["EURUSD"]
    for n, (complete, source) in enumerate([(1, "ticks"), (0, "ticks"), (1, "venue")]):
        home.database.query(
            f"INSERT INTO candle VALUES ({place}, 60, {BASE_US + n * minute_us}, 9, 9, 9, 9, 1, 0, "
            f"{complete}, '{source}')"
        )
    fill_candles(
        home,
        *[(BASE_S * 1000 + n * minute_ms, 1.5, 2.5, 0.5, 1.25, 3.5 if n % 2 else None) for n in range(4)],
        (BASE_S * 1000 + 4 * minute_ms, 1.5, 1.25, 0.5, 1.25, 0),
        (BASE_S * 1000 + 5 * minute_ms + 1, 1.5, 2.5, 0.5, 1.25, 0),
        (BASE_S * 1000 + 6 * minute_ms, 1.5, 2.5, 1.75, 2.0, 0),
    )
    ours = ("EURUSD", 60)
    expected = [
        (*ours, BASE_US, 9, 9, 9, 9, 0, 1, 1, "ticks"),
        (*ours, BASE_US + minute_us, 1.5, 2.5, 0.5, 1.25, 3.5, 0, 1, "imported"),
        (*ours, BASE_US + 2 * minute_us, 9, 9, 9, 9, 0, 1, 1, "venue"),
        (*ours, BASE_US + 3 * minute_us, 1.5, 2.5, 0.5, 1.25, 3.5, 0, 1, "imported"),
    ]
    assert home.bring(CANDLES) == 0
    out = capsys.readouterr().out
    assert [row for row in home.candles() if row[1] == 60] == expected
    assert "1 imported, 1 imported in the place of incomplete candles, 2 left out" in out
    assert "1: h is below another price of its candle" in out
    assert "1: l is above another price of its candle" in out
    assert "1: t is no beginning of an interval of 60 s" in out
    assert home.bring(CANDLES) == 0
    assert "0 imported, 2 there already from an import, 2 left out" in capsys.readouterr().out
    assert [row for row in home.candles() if row[1] == 60] == expected


def test_ticks_come_only_where_we_have_none_of_our_own(home: Installation) -> None:
    """Before our first, after our last, and into a gap: beside our own they would be told twice."""
    times = [BASE_US + n * SECOND_US for n in (10, 20, 30, 40)]
    home.keep(*[Tick(EUR, ts_us, 0, 9.0, None, None, None, ts_us) for ts_us in times])
    place = dict(home.database.query("SELECT symbol, id FROM market"))["EURUSD"]
    home.database.query(
        "INSERT INTO gap (market_id, from_us, to_us, cause, fill, fill_note) "
        f"VALUES ({place}, {times[1]}, {times[2]}, 'downtime', 'none', '')"
    )
    seconds = (5, 10, 15, 20, 25, 30, 35, 40, 45)
    fill_ticks(home, [("EUR/USD", BASE_US + n * SECOND_US, "'1.5'") for n in seconds])
    assert home.bring(OLYMP_TICKS) == 0
    found = [tick.ts_us for tick in stored_ticks(home.database) if tick.source == "imported"]
    assert found == [BASE_US + n * SECOND_US for n in (5, 25, 45)]


def test_silences_of_the_old_bot_are_gaps_and_its_candles_over_them_incomplete(
    home: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seconds 0, 1, 100 and 101 are theirs, 200 to 230 ours, 400 theirs again."""
    home.keep(*[Tick(EUR, BASE_US + n * SECOND_US, 0, 9.0, None, None, None, 1) for n in (200, 230)])
    fill_ticks(home, [("EUR/USD", BASE_US + n * SECOND_US, "'1.5'") for n in (0, 1, 100, 101, 210, 400)])
    expected = [
        (BASE_US + first * SECOND_US, BASE_US + last * SECOND_US, "downtime", "not_available")
        for first, last in ((1, 100), (101, 200), (230, 400))
    ]
    for gaps in (", 3 gaps in what was recorded", ""):
        assert home.bring(OLYMP_TICKS) == 0
        out = capsys.readouterr().out
        assert f"1 left out, because our own ticks are there{gaps}\n" in out
        rows = home.database.query("SELECT from_us, to_us, cause, fill FROM gap ORDER BY from_us")
        assert rows == expected
    found = {(row[2] - BASE_US) // SECOND_US: row[9] for row in home.candles() if row[1] == 60}
    assert found == {0: 0, 60: 0, 180: 0, 360: 0}


def test_what_was_imported_is_traded_in_a_backtest_but_for_its_silences(
    embedded: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """A price a second that rises for three minutes, is silent for two, and falls."""
    prices = {n: 1 + n / 1024 for n in range(180)} | {n: 2 - n / 1024 for n in range(300, 560)}
    fill_ticks(embedded, [("EUR/USD", BASE_US + n * SECOND_US, f"'{price}'") for n, price in prices.items()])
    assert embedded.bring(OLYMP_TICKS) == 0
    words = embedded.words(OLYMP_TICKS)
    config = words[words.index("--config") + 1]
    with Path(config).open("a", encoding="utf-8") as file:
        file.write(STREAKS)
    capsys.readouterr()
    same = ["--config", config, "--state-dir", str(embedded.state_dir)]
    assert run_command(["backtest", "--strategy", "streaks", "--market", EUR, *same]) == 0
    out = capsys.readouterr().out
    # Decided after two minutes and after seven, each a minute and a half long.
    assert re.findall(r" (up|down) .* (won|lost|void) ", out) == [("up", "void"), ("down", "won")]


STREAKS = """
[strategies.streaks]
kind = "streak"
length = 1
direction = "follow"
expiry_s = 90
stake = 1
"""


def test_dry_run_tells_the_same_and_writes_nothing(
    home: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_ticks(home, [*TWO_MINUTES, ("EUR/USD", BASE_US, "NULL")])
    assert home.bring(OLYMP_TICKS, "--dry-run") == 0
    dry = capsys.readouterr().out
    assert "240 would be imported" in dry
    assert not home.state_dir.exists()
    if isinstance(home.database, SqliteDatabase):
        assert not home.database.target.path.exists()
    else:
        assert home.database.query("SHOW TABLES") == []
    assert home.bring(OLYMP_TICKS) == 0
    assert capsys.readouterr().out == dry.replace("would be imported", "imported")
    before = stored_ticks(home.database)
    assert home.bring(OLYMP_TICKS, "--dry-run") == 0
    assert "0 would be imported, 240 there already" in capsys.readouterr().out
    assert stored_ticks(home.database) == before


def test_a_running_daemon_is_named_and_left_alone_but_not_by_a_dry_run(
    embedded: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_ticks(embedded, TWO_MINUTES)
    with lock.held(embedded.state_dir):
        assert embedded.bring(OLYMP_TICKS) == 1
        assert f"pid {os.getpid()}" in capsys.readouterr().err
        assert embedded.bring(OLYMP_TICKS, "--dry-run") == 0


def test_the_guide_s_example_brings_in_every_row_of_its_tables(
    embedded: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its statements are run and its map is used, with a day that is kept and a venue that is there."""
    blocks = {block.tag: block.text for block in Document(ROOT / "docs/import.md").blocks}
    for statement in blocks["sql"].replace("2026-11-20", in_jakarta(BASE_US)[:10]).split(";\n"):
        embedded.ask(statement)
    assert embedded.bring(blocks["toml"].replace("@olymp", "@sim")) == 0
    out = capsys.readouterr().out
    assert "not imported" not in out
    found = [tick[:1] + tick[3:4] for tick in stored_ticks(embedded.database)]
    assert found == [(EUR, 1.08415), (EUR, 1.08419), (GBP, 1.26504)]
    assert [(row[0], *row[3:8], row[10]) for row in embedded.candles() if row[10] == "imported"] == [
        ("EURUSD", 1.0841, 1.0844, 1.084, 1.0842, 0.0, "imported"),
        ("EURUSD", 1.0842, 1.0845, 1.0841, 1.0843, 0.0, "imported"),
    ]


TIMES = {
    "seconds as text": ("VARCHAR(20)", f"'{BASE_S}.25'", '{ column = "a", form = "unix_s" }'),
    "seconds as a double": ("DOUBLE", f"{BASE_S}.25", '{ column = "a", form = "unix_s" }'),
    "milliseconds": ("BIGINT", f"{BASE_S}250", '{ column = "a", form = "unix_ms" }'),
    "microseconds": ("DECIMAL(20,0)", f"{BASE_S}250000", '{ column = "a", form = "unix_us" }'),
    "a timestamp": ("TIMESTAMP(3)", f"FROM_UNIXTIME({BASE_S}.25)", '{ column = "a", form = "datetime" }'),
}


@pytest.mark.parametrize(("type_", "value", "time_"), TIMES.values(), ids=TIMES.keys())
def test_times_are_read_in_every_form(type_: str, value: str, time_: str, embedded: Installation) -> None:
    embedded.ask(f"CREATE TABLE t (a {type_}, b FLOAT, c DATE, d TIME(3))")
    embedded.ask(f"INSERT INTO t VALUES ({value}, 1.5, NULL, NULL)")
    map_ = f'[[tables]]\ntable = "t"\nkind = "ticks"\nmarket = "EURUSD@sim"\ntime = {time_}\n'
    assert embedded.bring(map_ + 'columns = { price = "b" }') == 0
    assert [tick[1:4] for tick in stored_ticks(embedded.database)] == [(BASE_US + 250_000, 0, 1.5)]


def test_date_and_clock_in_columns_of_their_own_are_one_time(embedded: Installation) -> None:
    day, clock = in_jakarta(BASE_US + 250_000).split(" ")
    embedded.ask("CREATE TABLE `their ticks` (c DATE, d TIME(3), bid DOUBLE, ask DOUBLE)")
    embedded.ask(f"INSERT INTO `their ticks` VALUES ('{day}', '{clock}', 1.25, 1.75)")
    map_ = (
        '[[tables]]\ntable = "their ticks"\nkind = "ticks"\nmarket = "EURUSD@sim"\n'
        'time = { date_column = "c", clock_column = "d", form = "datetime", zone = "Asia/Jakarta" }\n'
        'columns = { bid = "bid", ask = "ask" }'
    )
    assert embedded.bring(map_) == 0
    assert stored_ticks(embedded.database) == [
        Tick(EUR, BASE_US + 250_000, 0, 1.5, 1.25, 1.75, None, BASE_US + 250_000, "imported")
    ]


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "no such kind": (
        lambda map_: map_.replace('kind = "ticks"', 'kind = "tick"'),
        "kind = 'tick': expected 'ticks' or 'candles'",
    ),
    "no such table": (lambda map_: map_.replace('"ticks"\nkind', '"tick"\nkind'), "table = 'tick': not in"),
    "no such column": (
        lambda map_: map_.replace('"value"', '"price"'),
        "columns.price = 'price': ticks has the columns created_at, id, pair, value",
    ),
    "no such market": (
        lambda map_: map_.replace("EURUSD@sim", "EURUSD@olymp"),
        "market 'EURUSD@olymp': not among the settings' [[markets]]; did you mean \"EURUSD@sim\"?",
    ),
    "unknown key": (lambda map_: map_ + "tabel = 1", "[[tables]] #1 tabel: unknown key; did you mean"),
    "unknown kind": (lambda map_: map_.replace('"ticks"\nsymbol', '"tick"\nsymbol'), "kind = 'tick'"),
    "unknown form": (lambda map_: map_.replace('"datetime"', '"date"'), "time form = 'date'"),
    "wrong form": (
        lambda map_: map_.replace('form = "datetime", zone = "Asia/Jakarta"', 'form = "unix_s"'),
        "created_at is a datetime",
    ),
    "unknown zone": (lambda map_: map_.replace("Asia/", "Asien/"), "time zone = 'Asien/Jakarta'"),
    "no price": (lambda map_: map_.replace("price =", "bid ="), "columns.price: missing"),
    "two homes": (lambda map_: map_ + 'market = "EURUSD@sim"', "expected either market, or symbol_column"),
    "a timeframe of ticks": (lambda map_: map_ + "timeframe_s = 60", "timeframe_s = 60: candles have one"),
    "no TOML": (lambda map_: map_ + "=", "is not TOML"),
    "nothing": (lambda map_: "", "expected sections [[tables]]"),
}


@pytest.mark.parametrize(("change", "complaint"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_map_is_told_by_file_key_and_value(
    change: Callable[[str], str], complaint: str, embedded: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_ticks(embedded, TWO_MINUTES[:2])
    assert embedded.bring(change(OLYMP_TICKS)) == 78
    err = capsys.readouterr().err
    assert "map.toml: " in err
    assert complaint in err
    assert not (embedded.folder / "marketd.db").exists()


def test_a_password_in_the_url_is_taken_and_never_shown(
    embedded: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_ticks(embedded, TWO_MINUTES)
    words = embedded.words(OLYMP_TICKS)
    at = words.index("--password-file")
    del words[at : at + 2]
    secret = "pass%27w%C3%B6rd%25s"
    words[2] = words[2].replace(f"{USER}@", f"{USER}:{secret}@")
    assert run_command(words) == 0
    assert len(stored_ticks(embedded.database)) == len(TWO_MINUTES)
    for broken in (
        words[2].replace("mysql:", "sqlite:"),
        words[2] + "?x=1",
        words[2].replace(secret, "wrong"),
    ):
        assert run_command([*words[:2], broken, *words[3:]]) in (1, 78)
    shown = "".join(capsys.readouterr())
    assert secret not in shown
    assert PASSWORD not in shown
    assert "wrong" not in shown
