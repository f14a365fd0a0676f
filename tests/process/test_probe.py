"""`marketd probe` against simulated venues, as processes."""

import signal
import subprocess
from pathlib import Path

import pytest
from daemons import MARKETD, WITHIN_S, Workshop, wait_until

from supervisor.token_files import make_folder, write_token
from wire.recording import Direction, read

TOKEN = "eyJ-a-log-in-token-123"
ORDERS = ('"e":23,', '"buy"', '"proposal"', "add_order")


def probe(workshop: Workshop, *flags: str, protocol: str, symbol: str = "EURUSD") -> tuple[int, str]:
    """Probe a simulated venue for two seconds; return the exit code and what was said."""
    simulator = workshop.simulator("--protocol", protocol, "--rate", "5", *flags)
    workshop.config.write_text(
        f'[venues.v]\nprotocol = "{protocol}"\nurl = "{simulator.url}"\n'
        f'[[markets]]\nvenue = "v"\nsymbols = ["{symbol}"]\n'
    )
    done = workshop.command(
        "probe", "v", "--config", str(workshop.config), "--seconds", "2", "--record", str(recording(workshop))
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def recording(workshop: Workshop) -> Path:
    return workshop.folder / "probe.jsonl"


def set_token(workshop: Workshop) -> None:
    make_folder(workshop.state_dir)
    write_token(workshop.state_dir / "tokens/v", TOKEN)


@pytest.mark.parametrize("protocol", ["olymptrade", "deriv", "kraken", "binance"])
def test_a_sound_venue_is_understood(workshop: Workshop, protocol: str) -> None:
    if protocol == "olymptrade":
        set_token(workshop)
    code, said = probe(workshop, protocol=protocol)
    assert code == 0, said
    assert "all that is needed was understood" in said
    assert "price" in said
    frames = list(read(recording(workshop)))
    assert {frame.direction for frame in frames} == {Direction.IN, Direction.OUT}
    sent = "".join(frame.frame for frame in frames if frame.direction is Direction.OUT)
    assert not [order for order in ORDERS if order in sent]


def test_an_account_is_told_and_its_numbers_are_not_recorded(workshop: Workshop) -> None:
    set_token(workshop)
    code, said = probe(workshop, protocol="olymptrade")
    assert code == 0, said
    assert "(demo): 10000" in said
    assert "stake of one deal in USD" in said
    account = next(line.split()[1] for line in said.splitlines() if "(demo)" in line)
    recorded = recording(workshop).read_text()
    assert "account_id" in recorded
    assert account not in recorded
    assert TOKEN not in recorded + said


def test_without_a_token_it_is_said_what_to_do(workshop: Workshop) -> None:
    code, said = probe(workshop, protocol="olymptrade")
    assert code == 1
    assert "marketd token set v" in said


def test_a_venue_that_speaks_garbage_is_not_understood(workshop: Workshop) -> None:
    code, said = probe(workshop, "--fault", "garbage@0+60", protocol="kraken")
    assert code == 1
    assert "undecodable" in said
    assert "could not be decoded" in said


def test_a_market_that_stays_silent_is_missed(workshop: Workshop) -> None:
    code, said = probe(workshop, "--fault", "silent@0:EURUSD", protocol="binance")
    assert code == 1
    assert "missing: no price of EURUSD came" in said


def test_a_venue_that_is_not_there_is_named(workshop: Workshop) -> None:
    workshop.config.write_text(
        '[venues.v]\nprotocol = "kraken"\nurl = "ws://127.0.0.1:9/v2"\n'
        '[[markets]]\nvenue = "v"\nsymbols = ["EURUSD"]\n'
    )
    done = workshop.command("probe", "v", "--config", str(workshop.config), "--seconds", "1")
    assert done.returncode == 1
    assert "missing: connection refused" in done.stdout


def test_ctrl_c_shows_what_was_found_until_then(workshop: Workshop) -> None:
    simulator = workshop.simulator("--protocol", "binance", "--rate", "5")
    workshop.config.write_text(
        f'[venues.v]\nprotocol = "binance"\nurl = "{simulator.url}"\n'
        '[[markets]]\nvenue = "v"\nsymbols = ["EURUSD"]\n'
    )
    words = [MARKETD, "probe", "v", "--config", workshop.config, "--record", recording(workshop)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        file = recording(workshop)
        wait_until(lambda: file.exists() and "SUBSCRIBE" in file.read_text(), what="it listens to a market")
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=WITHIN_S)
    assert "Traceback" not in errors
    assert process.returncode == 1
    assert "subscribed EURUSD" in said
    assert "missing: the rest: stopped by Ctrl-C" in said


def test_a_venue_that_the_settings_do_not_name_is_an_error_of_the_settings(workshop: Workshop) -> None:
    workshop.config.write_text('[venues.v]\nprotocol = "kraken"\n')
    done = workshop.command("probe", "w", "--config", str(workshop.config))
    assert done.returncode == 78
    assert "those there are: v" in done.stderr
