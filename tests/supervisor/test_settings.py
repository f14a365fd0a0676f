import argparse
import contextlib
import os
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from domain.errors import ConfigError, MarketdError
from supervisor import client, lock
from supervisor import settings as settings_module
from supervisor.commands import where
from supervisor.settings import (
    Settings,
    find_config,
    load,
    market_specs,
    read_settings,
    simulated_settings,
    state_dir,
    without_effect,
)
from venues.simulated.prices import FX_PAIRS

VENUE = '[venues.one]\nprotocol = "binance"\n'
MARKETS = '[[markets]]\nvenue = "one"\nsymbols = ["BTCUSDT", "ETHUSDT"]\n'

EVERY_KEY = """
[service]
state_dir = "/var/lib/marketd"
log_level = "debug"
record_frames = "frames.jsonl"
language = "en"
zone = "UTC"
[storage]
url = "mysql://marketd@localhost/marketd"
password_file = "/etc/marketd/db-password"
flush_after_ms = 50
store_every_ms = 1000
flush_rows = 10000
read_timeout_s = 5
journal_max_mb = 10
keep_ticks_days = 7
keep_candles_days = 70
timeframes_s = [5, 60]
[supervision]
start_delay_ms = 100
starts_per_pass = 2
backoff_min_s = 0.5
backoff_max_s = 30
healthy_after_s = 20
max_restarts = 3
within_s = 100
probe_every_s = 10
[venues.one]
protocol = "binance"
url = "wss://example.com/stream"
token_file = "token"
source = "quotes"
stale_after_s = 10
markets_per_connection = 5
account = "practice"
connect_timeout_s = 3
[[markets]]
venue = "one"
symbols = ["BTCUSDT"]
strategies = ["mine"]
autostart = false
stale_after_s = 7
[strategies.mine]
kind = "mine.py:Mine"
expiry_s = 60
stake = 1.1
martingale = { factor = 2.0, max_steps = 2 }
length = 14
[trading]
mode = "paper"
paper_balance = 1000
currency = "EUR"
zone = "UTC"
max_stake = 5
max_open_trades = 3
max_open_per_market = 1
max_trades_per_day = 20
max_daily_loss = 25.5
max_losses_in_a_row = 4
pause_min = 30
cooldown_s = 10
min_payout_percent = 70
trade_between = "08:00-17:30"
count_foreign_trades = true
[door]
listen = ""
token_file = "door-token"
[alerts]
urls_file = "urls"
digest_at = "08:00"
heartbeat_url = "https://example.com/alive"
quarantine = "silent"
"""


def read(text: str) -> Settings:
    return read_settings(tomllib.loads(text))


def test_an_empty_file_is_all_defaults() -> None:
    assert read("") == Settings()


def test_every_key_of_the_contract_is_accepted() -> None:
    settings = read(EVERY_KEY)
    assert settings.service.log_level == "debug"
    assert settings.storage.timeframes_s == [5, 60]
    assert settings.supervision.backoff_min_s == 0.5
    assert settings.venues["one"].source == "quotes"
    assert settings.strategies["mine"].options == {"length": 14}
    assert settings.trading.count_foreign_trades is True
    assert settings.alerts.levels == {"quarantine": "silent"}


def test_money_is_exact() -> None:
    settings = read(EVERY_KEY)
    assert settings.strategies["mine"].stake == Decimal("1.1")
    assert settings.trading.max_daily_loss == Decimal("25.5")


def test_a_whole_number_is_taken_where_a_number_is_expected() -> None:
    assert read("[supervision]\nbackoff_max_s = 5").supervision.backoff_max_s == 5.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[storage]\nflush_rows = 'many'", "[storage] flush_rows = 'many': Expected int, got str"),
        ("[storage]\nflush_rows = 2.5", "[storage] flush_rows = 2.5: Expected int, got float"),
        ("[storage]\nflush_rows = true", "[storage] flush_rows = True: Expected int, got bool"),
        ("[storage]\nflush_rows = 0", "[storage] flush_rows = 0: must be >= 1"),
        ("[storage]\ntimeframes_s = [60, 'x']", "[storage] timeframes_s = [60, 'x']: Expected int, got str"),
        ("[supervision]\nbackoff_max_s = inf", "[supervision] backoff_max_s = inf: expected a finite number"),
        ("[storage]\nflush_row = 1", '[storage] flush_row: unknown key; did you mean "flush_rows"?'),
        ("[storage]\nxyz = 1", "[storage] xyz: unknown key"),
        ("[storge]\nurl = ''", '[storge]: unknown section; did you mean "storage"?'),
        ("storage = 3", "[storage] = 3: expected a section"),
        ("markets = 3", "[markets] = 3: expected sections [[markets]], in double brackets"),
        ("[markets]\nvenue = 'one'", "[markets] = {'venue': 'one'}: expected sections [[markets]]"),
        ("markets = [3]", "[[markets]] #1 = 3: expected a section"),
        ("venues = 3", "venues = 3: expected sections [venues.NAME]"),
        ("[venues]\nprotocol = 'binance'", "[venues.protocol] = 'binance': expected a section"),
        ("[venues.one]", "[venues.one] protocol: missing"),
        ("[[markets]]\nsymbols = ['A']", "[[markets]] #1 venue: missing"),
        ("[service]\nlanguage = 'pt'", "[service] language = 'pt': expected \"en\""),
        ("[service]\nlog_level = 'loud'", "[service] log_level = 'loud': expected \"debug\" or"),
        ("[service]\nzone = 'Mars/Base'", "[service] zone = 'Mars/Base': expected a time zone"),
        ("[service]\nzone = ''", "[service] zone = '': expected a time zone"),
        ("[service]\nzone = '../zone'", "[service] zone = '../zone': expected a time zone"),
        ("[trading]\nmode = 'live'", "[trading] mode = 'live': expected \"paper\" or"),
        ("[trading]\ntrade_between = '8-17'", "[trading] trade_between = '8-17': expected hours"),
        ("[trading]\nmax_stake = -1", "[trading] max_stake = -1: expected an amount above 0"),
        ("[door]\nlisten = '8787'", "[door] listen = '8787': expected HOST:PORT"),
        ("[alerts]\ncrash = 'loud'", "[alerts] crash = 'loud': expected 'on' or 'silent' or 'off'"),
        (
            "[supervision]\nbackoff_min_s = 9\nbackoff_max_s = 3",
            "[supervision] backoff_min_s = 9.0: more than backoff_max_s = 3.0",
        ),
    ],
)
def test_a_wrong_key_is_named_with_its_value(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[venues.One]\nprotocol = 'binance'", "[venues.One]: 'One' is no name for a venue"),
        (
            "[venues.one]\nprotocol = 'binanse'",
            "[venues.one] protocol = 'binanse': protocol 'binanse' is not",
        ),
        (VENUE + "source = 'both'", "[venues.one] source = 'both': expected"),
        (VENUE + "url = 'https://example.com'", "[venues.one] url = 'https://example.com': expected wss://"),
        (VENUE + "url = 'wss://'", "[venues.one] url = 'wss://': expected wss://"),
        (VENUE + "url = 'wss://a:99999/'", "[venues.one] url = 'wss://a:99999/': expected wss://"),
        (VENUE + "url = 'wss://[::1/'", "[venues.one] url = 'wss://[::1/': expected wss://"),
        (VENUE + "stale_after_s = 0", "[venues.one] stale_after_s = 0: expected a number above 0"),
        (
            VENUE + "[[markets]]\nvenue = 'onne'\nsymbols = ['A']",
            "[[markets]] #1 venue = 'onne': there is no [venues.onne]; did you mean \"one\"?",
        ),
        (
            VENUE + MARKETS + "strategies = ['mine']",
            "[[markets]] #1 strategies = 'mine': there is no [strategies.mine]",
        ),
        (
            VENUE + "[[markets]]\nvenue = 'one'\nsymbols = []",
            "[[markets]] #1 symbols = []: expected at least",
        ),
        (
            VENUE + "[[markets]]\nvenue = 'one'\nsymbols = ['A B']",
            "[[markets]] #1 symbols: 'A B' is no symbol",
        ),
        (
            VENUE + "[[markets]]\nvenue = 'one'\nsymbols = ['A@B']",
            "[[markets]] #1 symbols: 'A@B' is no symbol",
        ),
        (VENUE + MARKETS + MARKETS, "[[markets]] #2 symbols: 'BTCUSDT' and 'BTCUSDT' are one market of one"),
        (
            VENUE + "[[markets]]\nvenue = 'one'\nsymbols = ['BTCUSDT', 'btcusdt']",
            "[[markets]] #1 symbols: 'btcusdt' and 'BTCUSDT' are one market of one",
        ),
    ],
)
def test_sections_that_do_not_fit_together_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "[storage]\npassword = 'hunter2'",
        "[storage]\nurl = 'mysql://marketd:hunter2@localhost/marketd'",
        VENUE + "token = 'hunter2'",
        VENUE + "url = 'wss://user:hunter2@example.com/'",
        VENUE + "url = 'https://user:hunter2@example.com/'",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    assert "hunter2" not in str(error.value)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@hypothesis_settings(deadline=None)  # a slow machine is no fault
@given(
    section=st.sampled_from(["service", "storage", "supervision", "venues", "markets", "trading", "x"]),
    key=st.sampled_from(["url", "zone", "flush_rows", "timeframes_s", "max_restarts", "one", "max_stake"]),
    value=VALUES,
)
def test_any_wrong_value_is_a_settings_error_and_nothing_else(section: str, key: str, value: object) -> None:
    for table in ({section: value}, {section: {key: value}}, {section: [{key: value}]}):
        with contextlib.suppress(ConfigError):
            assert isinstance(read_settings(table), Settings)


def test_markets_of_one_symbol_on_two_venues_are_two_markets() -> None:
    two = VENUE.replace("one", "two")
    specs = market_specs(read(VENUE + two + MARKETS + MARKETS.replace("one", "two")))
    assert [spec.id for spec in specs] == ["BTCUSDT@one", "ETHUSDT@one", "BTCUSDT@two", "ETHUSDT@two"]


def test_a_market_takes_its_own_staleness_before_its_venues() -> None:
    venue = VENUE + "stale_after_s = 11\n"
    assert {spec.stale_after_s for spec in market_specs(read(venue + MARKETS))} == {11.0}
    own = market_specs(read(venue + MARKETS + "stale_after_s = 3\nautostart = false"))
    assert {(spec.stale_after_s, spec.autostart) for spec in own} == {(3.0, False)}


def test_what_has_no_effect_yet_is_listed_by_key() -> None:
    assert without_effect(tomllib.loads(EVERY_KEY)) == [
        "[door]",
        "[alerts]",
        "[service] language",
        "[venues.one] account",
        "[trading] count_foreign_trades",
    ]
    assert list(read(EVERY_KEY).unused) == without_effect(tomllib.loads(EVERY_KEY))


def test_settings_that_differ_only_in_what_has_no_effect_yet_are_equal() -> None:
    assert read("[service]\nlanguage = 'en'") == read("")


# --- files ------------------------------------------------------------------------------------


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[storage]\nflush_rows = 0")
    with pytest.raises(ConfigError, match=r"my\.toml: \[storage\] flush_rows"):
        load(path)


def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[service]\nzone = UTC")
    with pytest.raises(ConfigError, match=r"my\.toml: is not TOML: .*line 2"):
        load(path)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigError, match=r"my\.toml: is not TOML"):
        load(path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(b"\xef\xbb\xbf[service]\n")
    assert load(path) == Settings()


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name)


def test_the_file_given_wins_though_it_is_missing(tmp_path: Path) -> None:
    assert find_config(tmp_path / "given.toml") == tmp_path / "given.toml"


def test_the_working_folders_file_comes_before_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "home/.config/marketd/marketd.toml"
    users.parent.mkdir(parents=True)
    users.touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert find_config(None) == users
    (tmp_path / "marketd.toml").touch()
    assert find_config(None) == Path("marketd.toml")


def test_no_file_anywhere_says_which_were_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "exists", lambda path: False)  # /etc/marketd may be there
    with pytest.raises(ConfigError, match=r"marketd\.toml, .*/etc/marketd/marketd\.toml.*`marketd init`"):
        find_config(None)


def test_the_state_directory_is_the_first_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert state_dir(None, Settings()) == tmp_path / ".local/state/marketd"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/marketd:/var/lib/other")
    assert state_dir(None, Settings()) == Path("/var/lib/marketd")
    in_file = read('[service]\nstate_dir = "~/mine"')
    assert state_dir(None, in_file) == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    assert state_dir(Path("given"), in_file) == tmp_path / "given"


@pytest.fixture
def service_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service's settings file, and a home in which there is nothing."""
    file = tmp_path / "etc/marketd.toml"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setattr(settings_module, "SERVICE_FILE", file)
    monkeypatch.setattr(where, "SERVICE_FILE", file)
    monkeypatch.setattr(settings_module, "SERVICE_PASSWORD", tmp_path / "etc/db-password")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return file


def test_the_services_file_leads_to_the_services_state(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state_dir(None, load(service_file)) == Path("/var/lib/marketd")
    monkeypatch.chdir(service_file.parent)
    assert state_dir(None, load(Path("marketd.toml"))) == Path("/var/lib/marketd")


def test_the_services_manager_says_where_its_state_is(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/private/marketd")
    assert state_dir(None, load(service_file)) == Path("/var/lib/private/marketd")
    service_file.write_text('[service]\nstate_dir = "/srv/marketd"')
    assert state_dir(None, load(service_file)) == Path("/srv/marketd")


def test_root_has_the_services_password_outside_of_the_service_too(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(service_file).storage.password_file is None
    password = service_file.with_name("db-password")
    password.touch()
    assert load(service_file).storage.password_file == str(password)
    service_file.write_text('[storage]\npassword_file = "/srv/password"')
    assert load(service_file).storage.password_file == "/srv/password"
    service_file.write_text("")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/marketd.service")
    assert load(service_file).storage.password_file is None


def test_a_file_broken_under_the_running_service_hides_it_from_nobody(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_file.write_text("broken")
    socket = service_file.with_name("control.sock")
    monkeypatch.setattr(client, "SERVICE_SOCKET", socket)
    nothing_said = argparse.Namespace(config=None, state_dir=None)
    with pytest.raises(ConfigError, match=f"{service_file}: is not TOML"):
        where.state_dir_of(nothing_said)
    socket.symlink_to("/srv/marketd/control.sock")
    assert where.state_dir_of(nothing_said) == Path("/srv/marketd")
    Path("marketd.toml").write_text("broken")  # another daemon's
    with pytest.raises(ConfigError):
        where.state_dir_of(nothing_said)


def test_a_stranger_is_told_whom_the_service_answers(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    nothing_said = argparse.Namespace(config=None, state_dir=None)
    with pytest.raises(MarketdError, match=f"{service_file}.*members of its group"):
        where.state_dir_of(nothing_said)
    own = Path.home() / ".local/state/marketd"
    with lock.held(own):
        assert where.state_dir_of(nothing_said) == own


def test_of_folders_that_let_nobody_in_only_the_services_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "exists", refuse)
    assert find_config(None) == Path("/etc/marketd/marketd.toml")


# --- the simulation ---------------------------------------------------------------------------


def test_the_simulation_has_its_markets_and_the_embedded_database() -> None:
    base = read(EVERY_KEY)
    settings = simulated_settings(base, url="ws://127.0.0.1:1/")
    assert [spec.id for spec in market_specs(settings)] == [f"{symbol}@sim" for symbol in FX_PAIRS]
    assert len(market_specs(settings)) == 27
    assert settings.storage.url is None
    assert settings.trading.mode == "paper"
    assert {spec.strategies for spec in market_specs(settings)} == {("streak",)}
    assert settings.venues["sim"].url == "ws://127.0.0.1:1/"
    assert settings.supervision == base.supervision


def test_the_simulation_needs_no_file() -> None:
    settings = simulated_settings(None, url="ws://127.0.0.1:1/")
    assert all(spec.autostart for spec in market_specs(settings))


# --- trading ----------------------------------------------------------------------------------

MINE = '[strategies.mine]\nkind = "rsi"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (MINE, "[strategies.mine]: expected stake or stake_percent, one of the two"),
        (MINE + "stake = 1\nstake_percent = 1", "expected stake or stake_percent, one of the two"),
        (
            MINE + "stake = 0.001",
            "[strategies.mine] stake = 0.001: expected an amount above 0, in whole cents",
        ),
        (
            "[trading]\nmax_stake = 10000000001\n",
            "[trading] max_stake = 10000000001: expected an amount up to 10000000000",
        ),
        (MINE + "stake = 101", "[strategies.mine] stake = 101: more than [trading] max_stake = 100"),
        (
            MINE + "stake_percent = 2",
            "stake_percent = 2: of a balance of 10000 is 200.00, more than [trading] max_stake = 100",
        ),
        (
            MINE + "stake_percent = 0.1\n[trading]\npaper_balance = 1",
            "stake_percent = 0.1: of a balance of 1 is 0.00, less than a cent",
        ),
        (
            MINE + "stake = 10\n[trading]\nmax_daily_loss = 9",
            "[strategies.mine] stake = 10: more than [trading] max_daily_loss = 9",
        ),
        (
            MINE + "stake = 30\nmartingale = { max_steps = 3 }",
            "[strategies.mine] martingale: the stakes are 30, 60.00, 120.00, "
            "the last more than [trading] max_stake = 100",
        ),
        (
            MINE + "stake = 10\nmartingale = { max_steps = 3 }\n[trading]\nmax_daily_loss = 69.99",
            "the stakes are 10, 20.00, 40.00, together 70.00, more than [trading] max_daily_loss = 69.99",
        ),
        (
            MINE + "stake = 1\nmartingale = { max_steps = 6 }",
            "[strategies.mine] martingale max_steps = 6: must be <= 5",
        ),
        (MINE + "stake = 1\nmartingale = { factor = 2 }", "[strategies.mine] martingale max_steps: missing"),
        (
            MINE + "stake = 1\nmartingale = { steps = 2 }",
            '[strategies.mine] martingale steps: unknown key; did you mean "max_steps"?',
        ),
        (MINE + "stake = 1\nmartingale = 2", "[strategies.mine] martingale = 2: expected a section"),
        ('[strategies."a b"]\nkind = "rsi"\nstake = 1', "'a b' is no name for a strategy"),
        (
            VENUE.replace("binance", "olymptrade")
            + MARKETS
            + "strategies = ['mine']\n"
            + MINE
            + "stake = 1\nexpiry_s = 59",
            "[strategies.mine] expiry_s = 59: one takes 60 to ",
        ),
        (
            VENUE + MARKETS + "strategies = ['mine', 'mine']\n" + MINE + "stake = 1",
            "[[markets]] #1 strategies: 'mine' is there twice",
        ),
        ("[trading]\ntrade_between = '08:00-08:00'", "they end when they begin"),
        ("[trading]\nmode = 'demo'", '[trading] mode = "demo": this version trades on paper only'),
        (
            "[trading]\nmode = 'real'\nmax_stake = 5\nmax_open_trades = 1",
            '[trading] mode = "real": missing max_trades_per_day, max_daily_loss, max_losses_in_a_row: '
            "in real they have no default",
        ),
        (
            "[trading]\nmode = 'real'\nmax_stake = 5\nmax_open_trades = 1\nmax_trades_per_day = 1\n"
            "max_daily_loss = 5\nmax_losses_in_a_row = 1",
            '[trading] mode = "real": this version trades on paper only',
        ),
    ],
)
def test_what_is_wrong_with_trading_is_named_with_its_numbers(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert complaint in str(caught.value)


def test_stakes_that_just_fit_the_limits_are_taken() -> None:
    text = MINE + "stake = 10\nmartingale = { max_steps = 3 }\n[trading]\n"
    assert read(text + "max_stake = 40\nmax_daily_loss = 70").strategies["mine"].stake == 10
    assert read(MINE + "stake = 100").strategies["mine"].expiry_s == 60


def test_nothing_of_strategies_is_imported_where_none_is_set_up() -> None:
    code = (
        "import sys, tomllib; from supervisor.settings import read_settings; "
        "read_settings(tomllib.loads('[trading]\\nmax_stake = 5')); "
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'strategies']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
