"""What is sold, where and for how much: read from ``catalogue.toml``, changed by a test's switches, shown as JSON."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("catalogue.toml")
REGIONS = {"eu-central": "eu", "us-east": "us", "us-west": "us", "ap-southeast": "ap"}
HOURS_OF_A_MONTH = 624  # Hetzner's hourly prices reach the monthly one after 26 days
TB = 10**12
FAMILIES = {"cx": "Cost-Optimized", "cpx": "Regular Performance", "cax": "Cost-Optimized", "ccx": "General Purpose"}


@dataclass(frozen=True, slots=True)
class Location:
    id: int
    name: str
    description: str
    country: str
    city: str
    latitude: float
    longitude: float
    zone: str
    datacenter: str
    datacenter_id: int

    @property
    def region(self) -> str:
        return REGIONS[self.zone]

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "country": self.country,
            "city": self.city,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "network_zone": self.zone,
        }


@dataclass(frozen=True, slots=True)
class Image:
    id: int
    name: str
    flavor: str
    version: str
    description: str
    arch: str = "x86"
    deprecated: datetime | None = None

    def json(self, start: datetime) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "system",
            "status": "available",
            "name": self.name,
            "description": self.description,
            "image_size": None,
            "disk_size": 5,
            "created": stamp(start - timedelta(days=500)),
            "created_from": None,
            "bound_to": None,
            "os_flavor": self.flavor,
            "os_version": self.version,
            "rapid_deploy": True,
            "protection": {"delete": False},
            "deprecated": stamp(self.deprecated) if self.deprecated else None,
            "deleted": None,
            "labels": {},
            "architecture": self.arch,
        }


@dataclass(frozen=True, slots=True)
class ServerType:
    """A type; ``monthly`` (EUR, net) and ``traffic`` (TB) by the names of the locations where it is sold."""

    id: int
    name: str
    cores: int
    memory: int
    disk: int
    monthly: Mapping[str, Decimal]
    traffic: Mapping[str, int]
    arch: str = "x86"
    cpu: str = "shared"
    announced: datetime | None = None
    gone: datetime | None = None

    def deprecation(self) -> dict[str, str] | None:
        if self.announced is None or self.gone is None:
            return None
        return {"announced": stamp(self.announced), "unavailable_after": stamp(self.gone)}


def stamp(moment: datetime) -> str:
    """As the API writes a time: seconds, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


@dataclass
class Catalogue:
    """The market. What changes by itself (nothing) and by a test's switches is here."""

    locations: dict[str, Location]
    types: dict[str, ServerType]
    images: tuple[Image, ...]
    facts: Mapping[str, Any]
    start: datetime
    sold_out: dict[tuple[str, str], bool] = field(default_factory=dict)  # (type, location) -> the lists say so
    unlisted: set[str] = field(default_factory=set)  # types that are gone from the lists; servers of them live on

    @classmethod
    def load(cls, start: datetime, path: Path = FILE) -> Catalogue:
        facts = tomllib.loads(path.read_text())
        locations = {row["name"]: Location(**row) for row in facts["locations"]}

        def day(days: int | None) -> datetime | None:
            return None if days is None else start + timedelta(days=days)

        types = {}
        for row in facts["server_types"]:
            month, traffic = row.pop("month"), row.pop("traffic")
            sold = [place for place in locations.values() if place.region in month]
            types[row["name"]] = ServerType(
                **{**row, "announced": day(row.get("announced")), "gone": day(row.get("gone"))},
                monthly={place.name: Decimal(month[place.region]) for place in sold},
                traffic={place.name: traffic[place.region] for place in sold},
            )
        images = tuple(Image(**{**row, "deprecated": day(row.get("deprecated"))}) for row in facts["images"])
        return cls(locations, types, images, facts, start)

    # Switches.

    def stock_out(self, type_: str, location: str = "", *, listed: bool = True) -> None:
        """A type has no stock in a location (everywhere when none is named); ``listed``: the lists know it already."""
        for place in [location] if location else self.types[type_].monthly:
            self.sold_out[type_, place] = listed

    def restock(self, type_: str) -> None:
        self.sold_out = {key: listed for key, listed in self.sold_out.items() if key[0] != type_}

    def withdraw(self, type_: str, *, listed: bool = True) -> None:
        """A type can no longer be bought; not ``listed``: it is gone from the lists too."""
        if not listed:
            self.unlisted.add(type_)
        before = timedelta(days=90)
        gone = self.start - timedelta(days=1)
        self.types[type_] = replace(self.types[type_], announced=gone - before, gone=gone)

    def set_price(self, type_: str, monthly: Decimal | str, location: str = "") -> None:
        """A type's net price a month, in one location or in all where it is sold."""
        old = self.types[type_]
        places = [location] if location else list(old.monthly)
        self.types[type_] = replace(old, monthly={**old.monthly, **dict.fromkeys(places, Decimal(monthly))})

    # Looking.

    @property
    def listed(self) -> list[ServerType]:
        return [row for row in self.types.values() if row.name not in self.unlisted]

    def find_type(self, which: str) -> ServerType | None:
        return next((row for row in self.listed if which in (row.name, str(row.id))), None)

    def find_location(self, which: str) -> Location | None:
        return next((row for row in self.locations.values() if which in (row.name, str(row.id))), None)

    def find_datacenter(self, which: str) -> Location | None:
        return next((row for row in self.locations.values() if which in (row.datacenter, str(row.datacenter_id))), None)

    def find_image(self, which: str, arch: str) -> Image | None:
        """By id, or by name and architecture."""
        return next((row for row in self.images if which == str(row.id) or (which, arch) == (row.name, row.arch)), None)

    def in_stock(self, type_: str, location: str) -> bool:
        return (type_, location) not in self.sold_out

    # Showing.

    def gross(self, net: Decimal) -> dict[str, str]:
        """A price as the API writes it: ten places net, sixteen gross."""
        vat = 1 + Decimal(self.facts["vat_rate"]) / 100
        return {"net": f"{net:.10f}", "gross": f"{net * vat:.16f}"}

    def hourly(self, monthly: Decimal) -> dict[str, str]:
        return self.gross((monthly / HOURS_OF_A_MONTH).quantize(Decimal("0.0001"), ROUND_HALF_UP))

    def type_prices(self, type_: ServerType) -> list[dict[str, Any]]:
        return [
            {
                "location": place,
                "price_hourly": self.hourly(monthly),
                "price_monthly": self.gross(monthly),
                "included_traffic": type_.traffic[place] * TB,
                "price_per_tb_traffic": self.gross(Decimal(self.facts["traffic_tb"][self.locations[place].region])),
            }
            for place, monthly in type_.monthly.items()
        ]

    def type_json(self, type_: ServerType) -> dict[str, Any]:
        def place(name: str) -> dict[str, Any]:
            # Not in the OpenAPI document, but in the API and in hcloud: `available` and `recommended`.
            available = self.sold_out.get((type_.name, name)) is not True and not self.is_gone(type_)
            return {
                "id": self.locations[name].id,
                "name": name,
                "deprecation": type_.deprecation(),
                "available": available,
                "recommended": available and type_.announced is None,
            }

        family = type_.name.rstrip("0123456789")
        return {
            "id": type_.id,
            "name": type_.name,
            "description": type_.name.upper(),
            "category": FAMILIES[family],
            "cores": type_.cores,
            "memory": float(type_.memory),
            "disk": type_.disk,
            "deprecated": type_.announced is not None,
            "deprecation": type_.deprecation(),
            "prices": self.type_prices(type_),
            "storage_type": "local",
            "cpu_type": type_.cpu,
            "architecture": type_.arch,
            "locations": [place(name) for name in type_.monthly],
        }

    def is_gone(self, type_: ServerType) -> bool:
        return type_.gone is not None and type_.gone <= datetime.now(UTC)

    def datacenter_json(self, location: Location) -> dict[str, Any]:
        sold = [row for row in self.listed if location.name in row.monthly and not self.is_gone(row)]
        free = [row.id for row in sold if self.sold_out.get((row.name, location.name)) is not True]
        return {
            "id": location.datacenter_id,
            "name": location.datacenter,
            "description": f"{location.city} virtual DC",
            "location": location.json(),
            "server_types": {
                "supported": [row.id for row in sold],
                "available": free,
                "available_for_migration": free,
            },
        }

    def pricing_json(self) -> dict[str, Any]:
        facts, places = self.facts, list(self.locations)

        def monthly(name: str) -> list[dict[str, Any]]:
            price = self.gross(Decimal(facts[name]))
            return [{"location": place, "price_monthly": price} for place in places]

        def address(net: Decimal) -> list[dict[str, Any]]:
            prices = {"price_hourly": self.hourly(net), "price_monthly": self.gross(net)}
            return [{"location": place, **prices} for place in places]

        return {
            "currency": facts["currency"],
            "vat_rate": facts["vat_rate"],
            "image": {"price_per_gb_month": self.gross(Decimal(facts["image_gb_month"]))},
            "volume": {"price_per_gb_month": self.gross(Decimal(facts["volume_gb_month"]))},
            "server_backup": {"percentage": facts["backup_percentage"]},
            "floating_ip": {"price_monthly": self.gross(Decimal(facts["floating_ipv4_month"]))},
            "floating_ips": [
                {"type": "ipv4", "prices": monthly("floating_ipv4_month")},
                {"type": "ipv6", "prices": monthly("floating_ipv6_month")},
            ],
            "primary_ips": [
                {"type": "ipv4", "prices": address(Decimal(facts["ipv4_month"]))},
                {"type": "ipv6", "prices": address(Decimal(0))},
            ],
            "load_balancer_types": [],
            "server_types": [{"id": row.id, "name": row.name, "prices": self.type_prices(row)} for row in self.listed],
        }
