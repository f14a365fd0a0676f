"""The guide, followed on a booted machine: what it has an operator type does what it says."""

import shlex

from documents import ROOT, Document
from jwts import jwt_until
from service import CONFIG, DATABASE, Service

from domain.clock import now_us

GUIDE = Document(ROOT / "docs/guide.md")
MARKETS, TOKEN, LOOK, LIVE, EVERY_DAY, TRADES, MISSING = 3, 4, 5, 6, 9, 10, 11  # its sections
PROGRAMS = ("marketd", "journalctl", "systemctl")
DAY_US = 86_400_000_000


def settings(url: str) -> str:
    """Return the guide's own example, with the simulated venue in the real one's place."""
    [example] = [block.text for block in GUIDE.section(MARKETS).blocks if block.tag == "toml"]
    venue = 'protocol = "olymptrade"\n'
    assert venue in example
    quick = "[supervision]\nstart_delay_ms = 15\n"
    return f'[storage]\nurl = "{DATABASE}"\n{quick}' + example.replace(venue, f'{venue}url = "{url}"\n')


def trading_settings(url: str) -> str:
    """Return them with the guide's first strategy on the markets that it is for."""
    [example] = [block.text for block in GUIDE.section(TRADES).blocks if block.tag == "toml"]
    others = settings(url)
    for symbol in ("EURUSD", "GBPUSD"):
        assert f'"{symbol}"' in example
        others = others.replace(f'"{symbol}", ', "")
    return others + example


def in_blocks(section: int) -> list[list[str]]:
    """Return the commands that stand in blocks of their own."""
    return [words for words in GUIDE.section(section).commands if words[0] in PROGRAMS]


def in_lines(section: int) -> list[list[str]]:
    """Return the commands that stand in a line of text or of a table."""
    spans = [shlex.split(span.removeprefix("sudo ")) for span in GUIDE.section(section).spans]
    return [words for words in spans if len(words) > 1 and words[0] in PROGRAMS]


def follow(service: Service, words: list[str]) -> str:
    """Type a command as root, one that takes long cut short; return what it said."""
    words = [word for word in words if word != "-f"]
    if words[:2] == ["marketd", "probe"]:
        words = [*words, "--seconds", "2"]
    token = jwt_until(now_us() + DAY_US) if words[:2] == ["marketd", "token"] else None
    line = " ".join(f'"{word}"' for word in words)  # the shell is to fill in $(date)
    done = service.machine.run("sh", "-c", line, check=False, text=token)
    # Just after a start not every market is live yet, and its code says so.
    good = (0, 1) if words[:2] == ["marketd", "status"] else (0,)
    assert done.returncode in good, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_who_follows_the_guide_has_27_markets_live(service: Service) -> None:
    venue = service.venue("--protocol", "olymptrade")
    service.start()
    service.machine.path(CONFIG).write_text(settings(venue.url), encoding="utf-8")
    said = {tuple(words): follow(service, words) for each in (TOKEN, LOOK) for words in in_blocks(each)}
    assert "all that is needed was understood" in said["marketd", "probe", "olymp"]
    assert "FAILED" not in said["marketd", "check"]
    assert len(service.wait_live()["markets"]) == 27
    [status] = [words for words in in_blocks(LIVE) if words[0] == "marketd"]
    assert "27 of 27 markets live; database up" in follow(service, status)
    # The rest of what it says one may type.
    rest = [*in_lines(LOOK), *in_lines(LIVE)]
    rest += [words for each in (EVERY_DAY, MISSING) for words in (*in_blocks(each), *in_lines(each))]
    for words in rest:
        follow(service, words)
    service.machine.path(CONFIG).write_text(trading_settings(venue.url), encoding="utf-8")
    trading = {tuple(words): follow(service, words) for words in in_blocks(TRADES) if words[1] != "trade"}
    assert "FAILED" not in trading["marketd", "check"]
    service.wait_live()
    assert "they wait for a signal of reversal" in follow(service, ["marketd", "why", "EURUSD"])
    for words in in_lines(TRADES):
        if "…" not in words and words[1] != "shutdown":
            follow(service, words)
    assert ["journalctl", "-u", "marketd", "MARKET=EURUSD@olymp"] in rest
    assert service.entries("MARKET=EURUSD@olymp", "STATE=live")
    assert list(service.machine.path("/var/backups").glob("marketd-*.backup"))
