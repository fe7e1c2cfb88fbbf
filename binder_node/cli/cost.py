"""``cost``, ``offers``, ``leftovers``: what a node costs, what else could be had, what was forgotten."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.providers import Shop
    from binder_node.providers.offers import Bill

app = typer.Typer()
PANEL = "Prices"


class Shops(StrEnum):
    """Providers that tell prices without a node."""

    hetzner = "hetzner"


ShopOption = Annotated[Shops, typer.Option("--provider", help="Whose offers. Its token is HCLOUD_TOKEN.")]
EndpointOption = Annotated[str, typer.Option(help="URL of the provider's API, where it is not its usual one.")]


def fields(bill: Bill) -> dict[str, Any]:
    """A bill for machines; money as text, to the cent."""
    from dataclasses import asdict

    return {
        "offer": asdict(bill.offer),
        "lines": [asdict(line) for line in bill.lines],
        "unknown": list(bill.unknown),
        "currency": bill.offer.currency,
        "monthly": bill.monthly,
        "fixed": bill.fixed,
        "with_vat": bill.with_vat,
        "sessions": bill.sessions,
        "per_session": bill.per_session,
        "carries": bill.carries,
        "per_carried": bill.per_carried,
    }


def sentence(bill: Bill) -> str:
    """``288.99 EUR a month without VAT, 0.96 for each of 300 sessions, 0.78 for each of the 370 that memory holds``"""
    each = f", {bill.per_session} for each of {bill.sessions} sessions" if bill.per_session is not None else ""
    held = f", {bill.per_carried} for each of the {bill.carries} that memory holds" if bill.per_carried else ""
    beside = f"; besides, at a price that nobody told: {', '.join(bill.unknown)}" if bill.unknown else ""
    return f"{bill.monthly} {bill.offer.currency} a month without VAT{each}{held}{beside}"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node cost bids   ·   binder-node cost bids -o json | jq -r .monthly",
)
def cost(node: NodeArgument, output: OutputOption = Output.text) -> None:
    """Show what a month of the node costs, made or not: at live prices, or as its inventory says (`cost`)."""
    from binder_node.cli.output import document, reporting, say, table
    from binder_node.cli.run import errors
    from binder_node.lifecycle import opened, prices

    with errors():
        found = opened.open_spec(node, None)
        with reporting(Output.text) as report:
            bill = prices.cost(found, report)
        above = prices.above_limit(found.spec, bill)
        if output is not Output.text:
            document({"node": found.spec.name, **fields(bill), "max_price": above and str(above)}, output)
            return
        rows = [
            [
                line.what,
                f"{line.unit_price:.4f}".rstrip("0").rstrip("."),
                f"{line.count:g} {line.unit}",
                f"{line.monthly}",
            ]
            for line in bill.lines
        ]
        where = f"{bill.offer.provider}: {bill.offer.type}" + (
            f" in {bill.offer.location}" if bill.offer.location else ""
        )
        table(where, ["what", "each", "count", f"{bill.offer.currency} a month"], rows)
        if bill.vat:
            say(f"with {bill.vat * 100:.0f} % VAT: {bill.with_vat} {bill.offer.currency}")
        if above is not None:
            say(f"warning: machine, address and volume cost {bill.fixed}, more than provider.max_price, {above}")
        say(f"{found.spec.name}: {sentence(bill)}")


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node offers --sessions 300 --max-price 350   ·   "
    "binder-node offers --sessions 60 --location nbg1 --stored 2T -o json   ·   binder-node offers bids",
)
def offers(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="[NODE]",
            help="A node whose provider, API and token are asked, whatever its kind. Default: --provider.",
            show_default=False,
        ),
    ] = None,
    sessions: Annotated[int, typer.Option(help="Sessions at once that the node is to take.", min=0)] = 0,
    max_price: Annotated[
        float | None, typer.Option(help="What a month may cost, without VAT.", min=0, show_default=False)
    ] = None,
    provider: ShopOption = Shops.hetzner,
    location: Annotated[
        list[str] | None, typer.Option(help="Only there. Can be given again.", show_default=False)
    ] = None,
    arch: Annotated[str, typer.Option(help="Only amd64 or arm64.", show_default=False)] = "",
    volume: Annotated[str, typer.Option(help="With a volume of this size, like 500G.", show_default=False)] = "",
    stored: Annotated[str, typer.Option(help="With object storage that holds this, like 2T.", show_default=False)] = "",
    traffic: Annotated[
        str, typer.Option(help="With this leaving the machine in a month, like 30T.", show_default=False)
    ] = "",
    endpoint: EndpointOption = "",
    output: OutputOption = Output.text,
) -> None:
    """Show the machines that can be ordered now and are large enough, the cheapest first.

    Each is shown with its address, and with what else is asked for. Sessions are the quota that a node on it gets by
    default.
    """
    from binder_node.cli.output import document, say
    from binder_node.cli.run import errors
    from binder_node.lifecycle import prices
    from binder_node.providers import shop_for

    with errors():
        wanted = _wanted(sessions, max_price, arch, tuple(location or ()), volume, stored, traffic)
        shop = _shop(node) if node else shop_for(provider.value, endpoint)
        prices.check_locations(shop, wanted)
        found = prices.offers(shop, wanted)
        if output is not Output.text:
            document([fields(bill) for bill in found], output)
        elif found:
            _show(found)
        else:
            say("nothing fits; ask for fewer sessions, or let it cost more")


def _shop(node: str) -> Shop:
    from binder_node.cli.output import reporting
    from binder_node.lifecycle import opened, prices

    with reporting(Output.text) as report:
        return prices.shop_of(opened.open_spec(node, None), report)


def _wanted(
    sessions: int,
    max_price: float | None,
    arch: str,
    locations: tuple[str, ...],
    volume: str,
    stored: str,
    traffic: str,
) -> Any:
    """What was asked for. Raises InputError where a size is none."""
    from decimal import Decimal

    from binder_node.errors import InputError, Problem
    from binder_node.lifecycle.prices import Wanted
    from binder_node.providers.offers import Use
    from binder_node.spec.quantity import Quantity

    sizes: dict[str, int] = {}
    for name, text in (("--volume", volume), ("--stored", stored), ("--traffic", traffic)):
        try:
            sizes[name] = int(Quantity(text)) if text else 0
        except ValueError as error:
            raise InputError(Problem("", 0, name, str(error), "")) from error
    if arch not in ("", "amd64", "arm64"):
        raise InputError(Problem("", 0, "--arch", f"{arch!r} is no architecture", "write amd64 or arm64"))
    use = Use(volume=sizes["--volume"], bucket=bool(stored), stored=sizes["--stored"], traffic=sizes["--traffic"])
    limit = None if max_price is None else Decimal(str(max_price))
    return Wanted(sessions, limit, arch, locations, use)


def _show(found: list[Bill]) -> None:
    from binder_node.cli.output import table
    from binder_node.spec.quantity import shortest

    # Narrow enough for 80 columns.
    columns = ["type", "in", "cores", "memory", "disk", "sessions", "holds", "a month", "each", ""]
    rows = []
    for bill in found:
        offer = bill.offer
        cores = f"{offer.cpus}" if offer.cpu_kind == "dedicated" else f"{offer.cpus} shared"
        end = f"until {offer.deprecated}" if offer.deprecated else ""
        size = [cores, shortest(offer.memory), shortest(offer.disk), f"{bill.sessions}", f"{bill.carries}"]
        rows.append([offer.type, offer.location, *size, f"{bill.monthly}", f"{bill.per_session}", end])
    table(f"{found[0].offer.currency}, without VAT; each: of the sessions", columns, rows)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node leftovers   ·   binder-node leftovers --provider hetzner -o json",
)
def leftovers(
    folder: Annotated[Path, typer.Option("--dir", help="Where inventories are.")] = Path("inventories"),
    provider: Annotated[
        list[Shops] | None,
        typer.Option("--provider", help="Look there too, where no inventory names it.", show_default=False),
    ] = None,
    endpoint: EndpointOption = "",
    output: OutputOption = Output.text,
) -> None:
    """Show what carries binder-node's labels and belongs to no inventory: it may cost money.

    Exits with 1 when there is something, or an account could not be looked at. Takes nothing away: delete it in the
    provider's console, or write its inventory again and `destroy`.
    """
    from binder_node.cli.output import document, reporting, say, table
    from binder_node.cli.run import errors
    from binder_node.lifecycle import prices

    with errors():
        with reporting(Output.text) as report:
            seen = prices.leftovers(folder, [shop.value for shop in provider or ()], report, endpoint)
        for problem in seen.unseen:
            say(f"not looked at: {problem}")
        if output is not Output.text:
            document(seen.found, output)
        elif seen.found:
            rows = [[one.node, one.kind, one.name, one.id, one.note] for one in seen.found]
            table("", ["node", "kind", "name", "id", ""], rows)
        else:
            say("nothing is left over" + (" in what was looked at" if seen.unseen else ""))
        if seen.found or seen.unseen:
            raise typer.Exit(1)
